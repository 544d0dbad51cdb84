package app.marquee

import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test

/** Which ends of earlier runs are reported, and the script that hands them to the page. */
class ExitReportsTest {
    private val crash = ProcessExit(4, 2_000, visible = true)
    private val anr = ProcessExit(6, 1_000, visible = false)

    @Test
    fun failuresAreSelectedOldestFirst() = assertEquals(listOf(anr, crash), ExitReports.select(listOf(crash, anr), 0))

    @Test
    fun reportedFailuresAreNotSelectedAgain() = assertEquals(listOf(crash), ExitReports.select(listOf(crash, anr), 1_000))

    @Test
    fun ordinaryEndsAreNoFailures() {
        val ordinary = listOf(0, 1, 2, 8, 10, 11, 12, 13, 14, 15, 16, 99).map { ProcessExit(it, 5, visible = true) }
        assertTrue(ExitReports.select(ordinary, 0).isEmpty())
    }

    @Test
    fun lowMemoryCountsForAVisibleAppOnly() {
        val seen = ProcessExit(3, 5, visible = true)
        assertEquals(listOf(seen), ExitReports.select(listOf(seen, seen.copy(visible = false)), 0))
    }

    @Test
    fun scriptAsksThePage() {
        val list = """[{"reason":"anr","exited":1000},{"reason":"crash","exited":2000}]"""
        assertEquals("globalThis.trackExits ? trackExits($list) : null", ExitReports.toScript(listOf(anr, crash)))
    }

    @Test
    fun pageHasDecidedWhenItsScriptAnswered() {
        assertTrue(ExitReports.isDecided("true"))
        assertTrue(ExitReports.isDecided("false"))
        assertFalse(ExitReports.isDecided("null"))
        assertFalse(ExitReports.isDecided(null))
    }
}
