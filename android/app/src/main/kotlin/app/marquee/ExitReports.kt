package app.marquee

/** The end of an earlier run of the app, as Android recorded it. [at] is in milliseconds since 1970. */
data class ProcessExit(val reason: Int, val at: Long, val visible: Boolean)

/**
 * Reports of runs that failed, which a page cannot report because it ended with them.
 *
 * The page's script puts them into its own queue, so consent, storage and delivery are those of all analytics events.
 */
object ExitReports {
    // ApplicationExitInfo.REASON_*. A process that nobody sees may be killed for its memory: that is no failure.
    private val FAILURES =
        mapOf(3 to "low_memory", 4 to "crash", 5 to "native_crash", 6 to "anr", 7 to "initialization", 9 to "resources")
    private const val LOW_MEMORY = 3

    /** Return the failures after [until], oldest first. */
    fun select(exits: List<ProcessExit>, until: Long): List<ProcessExit> =
        exits
            .filter { it.at > until && it.reason in FAILURES && (it.visible || it.reason != LOW_MEMORY) }
            .sortedBy { it.at }

    /**
     * Return the script that gives [exits] to the page.
     *
     * Its value is true or false, for a user who consents or not, and null on a page without the app's script.
     */
    fun toScript(exits: List<ProcessExit>): String {
        val list = exits.joinToString(",", "[", "]") { """{"reason":"${FAILURES[it.reason]}","exited":${it.at}}""" }
        return "globalThis.trackExits ? trackExits($list) : null"
    }

    /** Return true if [value] of the script says that the page has decided; otherwise the next page is asked. */
    fun isDecided(value: String?): Boolean = value == "true" || value == "false"
}
