package app.marquee

import java.net.URI
import java.net.URISyntaxException

/** The addresses of the app. Plain Kotlin, so any JVM runs its tests. */
class Site(private val origin: String) {
    private val own = URI(origin)

    /** Return true if a page at [address] is one of the app's own. */
    fun owns(address: String?): Boolean {
        val other = parse(address) ?: return false
        return other.scheme == own.scheme && other.host == own.host && other.port == own.port && other.userInfo == null
    }

    /** Return true if another app may open [address]: a page of another site, a mail address or a number. */
    fun isForeign(address: String?): Boolean = !owns(address) && parse(address)?.scheme in FOREIGN_SCHEMES

    /** Return the first page: the link or shortcut that started the app if it is an own one, else home. */
    fun startAt(link: String?): String {
        val path = parse(link)?.takeIf { it.scheme == SHORTCUT_SCHEME }?.path
        return when {
            path in SHORTCUT_PATHS -> origin + path
            link != null && owns(link) -> link
            else -> "$origin/"
        }
    }

    /** Return the user agent by which pages recognize the app and its version. */
    fun userAgent(browser: String?, version: String): String = "${browser.orEmpty()} Marquee/$version".trim()

    private fun parse(address: String?): URI? =
        try {
            address?.let(::URI)
        } catch (_: URISyntaxException) {
            null
        }

    private companion object {
        val FOREIGN_SCHEMES = setOf("https", "http", "mailto", "tel")

        // Resources cannot contain the origin, so shortcuts name the path only.
        const val SHORTCUT_SCHEME = "marquee"
        val SHORTCUT_PATHS = setOf("/search", "/you")
    }
}
