pluginManagement {
    repositories {
        google()
        mavenCentral()
    }
}
plugins { id("com.android.application") version "9.2.1" apply false }
dependencyResolutionManagement {
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        google()
        mavenCentral()
    }
}
rootProject.name = "marquee"
include(":app")
