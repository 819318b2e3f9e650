"""
@article{Dai2023,
  title = {{CryoRes}: Local Resolution Estimation of Cryo-{EM} Density Maps by Deep Learning},
  author = {Dai, M. and Dong, Z. and Xu, K. and Zhang, Q. C.},
  journal = {Journal of Molecular Biology},
  volume = {435},
  number = {9},
  pages = {168059},
  year = {2023},
  doi = {10.1016/j.jmb.2023.168059},
  url = {https://doi.org/10.1016/j.jmb.2023.168059}
}
"""
