package app.marquee

/** The page that is shown if the first page cannot be loaded. Later pages come from the service worker's cache. */
object ConnectionError {
    /** Return the page as HTML, with a link to [address]. */
    fun toHtml(message: String, retry: String, address: String): String =
        """<!doctype html><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<style>body{font:18px/1.5 sans-serif;display:grid;place-content:center;min-height:90vh;text-align:center}</style>
<p>${escape(message)}</p><p><a href="${escape(address)}">${escape(retry)}</a></p>"""

    private fun escape(text: String): String =
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;")
}
