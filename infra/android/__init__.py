"""The build of the Android package from packages alone, without an Android SDK, and the checks that read it back."""
