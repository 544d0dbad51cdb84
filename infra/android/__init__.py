"""Build of the Android package from registry packages, without an Android SDK, and checks of the result."""
