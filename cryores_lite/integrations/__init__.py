"""The command as a job of RELION and of ccpem-pipeliner."""
