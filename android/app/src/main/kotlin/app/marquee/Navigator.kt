package app.marquee

/** What the window of the app can do. The activity implements it; tests use a fake. */
interface BrowserWindow {
    fun load(address: String)

    fun canGoBack(): Boolean

    fun goBack()

    /** Replace the page by a new, empty one, because its process is gone. */
    fun replacePage()

    /** Open a page of another site in the user's browser. */
    fun openElsewhere(address: String)

    /** Say if the app handles the next back gesture itself. The system must know it before the gesture. */
    fun handleBack(wanted: Boolean)
}

/** The decisions behind links, the back gesture and a page whose process was killed. */
class Navigator(private val site: Site, private val window: BrowserWindow) {
    private var handlesBack = false

    /** Show the page of a link or shortcut that started the app. */
    fun open(link: String?) = window.load(site.startAt(link))

    /** Decide about a link on a page. Return false if the page itself follows it. */
    fun intercept(address: String?): Boolean {
        if (site.owns(address)) return false
        if (address != null && site.isForeign(address)) window.openElsewhere(address)
        return true
    }

    /** Tell the system who handles the next back gesture, after each change of the history. */
    fun updateBack() {
        val wanted = window.canGoBack()
        if (wanted != handlesBack) window.handleBack(wanted)
        handlesBack = wanted
    }

    /** Go back in the history. Return false if there is none, so that the system leaves the app. */
    fun goBack(): Boolean {
        if (!window.canGoBack()) return false
        window.goBack()
        return true
    }

    /** Show [address] again after the system or a crash ended the page's process. */
    fun recover(address: String?) {
        window.replacePage()
        updateBack()
        open(address)
    }
}
