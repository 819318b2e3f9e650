"""The viewers of the plugin, which Scipion finds here."""

from .viewer_local_resolution import CryoresLocalResolutionViewer as CryoresLocalResolutionViewer
