package app.marquee

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test

/** The addresses that the app shows, leaves to other apps, or refuses. */
class SiteTest {
    private val site = Site("https://movies.example")

    @Test
    fun ownPagesAreOwned() {
        for (path in listOf("", "/", "/movie/fargo+1996", "/search?q=a%20b", "/movie/a%2Fb#similar")) {
            assertTrue(path, site.owns("https://movies.example$path"))
        }
    }

    @Test
    fun addressesThatOnlyLookOwnAreNot() {
        val others =
            listOf(
                null, "", " ", "movies.example", "http://movies.example/", "https://movies.example:8443/",
                "https://movies.example.evil/", "https://evil/movies.example", "https://evilmovies.example/",
                "https://movies.example@evil/", "https://evil@movies.example/", "https://movies.example\\@evil/",
                "https:\\\\movies.example/", "//movies.example/", "javascript:alert(1)", "intent://movies.example/#Intent;end",
                "file:///data/data/app.marquee/", "content://app.marquee/", "data:text/html,x", "https://movies.example %/",
            )
        for (address in others) assertFalse("$address", site.owns(address))
    }

    @Test
    fun portOfTheOriginCounts() {
        val demo = Site("http://localhost:8085")
        assertTrue(demo.owns("http://localhost:8085/you"))
        assertFalse(demo.owns("http://localhost:8086/you"))
    }

    @Test
    fun otherAppsOpenPagesMailAndNumbersOnly() {
        for (address in listOf("https://example.org/", "http://example.org/", "mailto:a@example.org", "tel:+15550100")) {
            assertTrue(address, site.isForeign(address))
        }
        for (address in listOf(null, "file:///sdcard/x", "content://x/y", "intent:#Intent;end", "javascript:1", "https://movies.example/")) {
            assertFalse("$address", site.isForeign(address))
        }
    }

    @Test
    fun firstPageIsTheOwnLinkTheShortcutOrHome() {
        assertEquals("https://movies.example/movie/a", site.startAt("https://movies.example/movie/a"))
        assertEquals("https://movies.example/search", site.startAt("marquee:/search"))
        for (link in listOf(null, "https://evil/", "marquee:/you/forget", "marquee://evil/x", "marquee:search", "%")) {
            assertEquals("$link", "https://movies.example/", site.startAt(link))
        }
    }

    @Test
    fun userAgentNamesTheVersion() {
        assertEquals("Chrome Marquee/1.2.3", site.userAgent("Chrome", "1.2.3"))
        assertEquals("Marquee/1.2.3", site.userAgent(null, "1.2.3"))
    }
}
