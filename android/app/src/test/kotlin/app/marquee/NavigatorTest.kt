package app.marquee

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test

/** Links, the back gesture and a killed page, on a window that records what it is told. */
class NavigatorTest {
    private class FakeWindow : BrowserWindow {
        val history = mutableListOf<String>()
        val elsewhere = mutableListOf<String>()
        val backHandlers = mutableListOf<Boolean>()

        override fun load(address: String) {
            history += address
        }

        override fun canGoBack() = history.size > 1

        override fun goBack() {
            history.removeAt(history.lastIndex)
        }

        override fun replacePage() = history.clear()

        override fun openElsewhere(address: String) {
            elsewhere += address
        }

        override fun handleBack(wanted: Boolean) {
            backHandlers += wanted
        }
    }

    private val window = FakeWindow()
    private val navigator = Navigator(Site("https://movies.example"), window)

    @Test
    fun linkOfOursOpensInThePage() {
        navigator.open("https://movies.example/movie/a")
        assertEquals(listOf("https://movies.example/movie/a"), window.history)
        assertFalse(navigator.intercept("https://movies.example/movie/b"))
        assertTrue(window.elsewhere.isEmpty())
    }

    @Test
    fun foreignLinkOpensElsewhereAndAnyOtherNowhere() {
        navigator.open(null)
        assertTrue(navigator.intercept("https://example.org/"))
        assertTrue(navigator.intercept("file:///sdcard/x"))
        assertTrue(navigator.intercept(null))
        assertEquals(listOf("https://example.org/"), window.elsewhere)
        assertEquals(listOf("https://movies.example/"), window.history)
    }

    @Test
    fun backFollowsTheHistoryAndThenLeaves() {
        navigator.open(null)
        navigator.open("https://movies.example/you")
        assertTrue(navigator.goBack())
        assertEquals(listOf("https://movies.example/"), window.history)
        assertFalse(navigator.goBack())
    }

    @Test
    fun systemKnowsBeforehandWhoHandlesBack() {
        navigator.open(null)
        navigator.updateBack()
        navigator.open("https://movies.example/you")
        navigator.updateBack()
        navigator.updateBack()
        navigator.goBack()
        navigator.updateBack()
        assertEquals(listOf(true, false), window.backHandlers)
    }

    @Test
    fun killedPageComesBackAtItsAddress() {
        navigator.open("https://movies.example/movie/a")
        navigator.open("https://movies.example/watch/a")
        navigator.updateBack()
        navigator.recover("https://movies.example/watch/a")
        assertEquals(listOf("https://movies.example/watch/a"), window.history)
        assertEquals(listOf(true, false), window.backHandlers)
    }

    @Test
    fun killedPageWithoutAnOwnAddressComesBackAtHome() {
        navigator.recover("data:text/html,error")
        assertEquals(listOf("https://movies.example/"), window.history)
    }
}
