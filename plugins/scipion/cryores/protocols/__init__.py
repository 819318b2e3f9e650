"""The protocols of the plugin, which Scipion finds here."""

from .protocol_local_resolution import CryoresProtLocalResolution as CryoresProtLocalResolution
