package app.marquee

import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test

/** The page without a connection. */
class ConnectionErrorTest {
    @Test
    fun addressIsEscaped() {
        val html = ConnectionError.toHtml("No & never", "Again", "https://movies.example/?q=\"><script>")
        assertTrue(html.contains("""<a href="https://movies.example/?q=&quot;&gt;&lt;script&gt;">Again</a>"""))
        assertTrue(html.contains("No &amp; never"))
        assertFalse(html.contains("<script>"))
    }
}
