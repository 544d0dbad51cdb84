plugins { id("com.android.application") }

// A package belongs to one site. `-Pmarquee.origin=https://...` names it for a release; a debug build is for the demo.
val releaseOrigin = providers.gradleProperty("marquee.origin").getOrElse("https://marquee.example.com")
val debugOrigin = "http://localhost:8085"
val pyproject = providers.fileContents(layout.settingsDirectory.file("../pyproject.toml")).asText.get()
val packageVersion = Regex("""(?m)^version = "(\d+)\.(\d+)\.(\d+)"$""").find(pyproject)!!.destructured

android {
    namespace = "app.marquee"
    compileSdk = 36
    defaultConfig {
        applicationId = "app.marquee"
        minSdk = 26
        targetSdk = 36
        val (major, minor, patch) = packageVersion
        versionName = "$major.$minor.$patch"
        versionCode = major.toInt() * 1_000_000 + minor.toInt() * 1_000 + patch.toInt()
    }
    buildFeatures {
        buildConfig = true
        resValues = true
    }
    signingConfigs {
        create("release") {
            storeFile = System.getenv("KEYSTORE")?.let(::file)
            storePassword = System.getenv("KEYSTORE_PASSWORD")
            keyAlias = "marquee"
            keyPassword = System.getenv("KEYSTORE_PASSWORD")
        }
    }
    buildTypes {
        debug {
            resValue("string", "origin", debugOrigin)
            resValue("string", "host", uri(debugOrigin).host)
        }
        release {
            resValue("string", "origin", releaseOrigin)
            resValue("string", "host", uri(releaseOrigin).host)
            isMinifyEnabled = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"), "proguard-rules.pro")
            signingConfig = signingConfigs["release"].takeIf { it.storeFile != null }
        }
    }
    lint {
        warningsAsErrors = true
        checkReleaseBuilds = true
        // Newer versions are a pull request of their own.
        disable += setOf("GradleDependency", "AndroidGradlePluginVersion", "OldTargetApi")
    }
}

kotlin { compilerOptions { allWarningsAsErrors = true } }

// The app itself has no dependency. The first one ends the build from packages alone (docs/android.md).
dependencies { testImplementation("junit:junit:4.13.2") }
