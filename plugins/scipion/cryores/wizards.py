"""The wizards of the plugin, which Scipion finds here."""

from pwem.wizards import ColorScaleWizardBase

from cryores.viewers import CryoresLocalResolutionViewer


class CryoresColorScaleWizard(ColorScaleWizardBase):
    """Edits the colour scale of the viewer."""

    _targets = ColorScaleWizardBase.defineTargets(CryoresLocalResolutionViewer)
