package app.marquee

import android.app.ActivityManager
import android.app.ActivityManager.RunningAppProcessInfo
import android.content.Context
import android.os.Build
import android.webkit.RenderProcessGoneDetail
import android.webkit.WebResourceError
import android.webkit.WebResourceRequest
import android.webkit.WebView
import android.webkit.WebViewClient

/** What the app does when something happens to its page. */
class PageClient(private val context: Context, private val navigator: Navigator) : WebViewClient() {
    override fun shouldOverrideUrlLoading(view: WebView, request: WebResourceRequest): Boolean =
        navigator.intercept(request.url.toString())

    override fun doUpdateVisitedHistory(view: WebView, url: String?, isReload: Boolean) = navigator.updateBack()

    override fun onPageFinished(view: WebView, url: String?) {
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) reportExits(view)
    }

    override fun onReceivedError(view: WebView, request: WebResourceRequest, error: WebResourceError) {
        if (!request.isForMainFrame) return
        val address = request.url.toString()
        val message = context.getString(R.string.no_connection)
        val html = ConnectionError.toHtml(message, context.getString(R.string.retry), address)
        view.loadDataWithBaseURL(address, html, "text/html", "utf-8", address)
    }

    override fun onRenderProcessGone(view: WebView, detail: RenderProcessGoneDetail): Boolean {
        val address = view.url
        view.destroy()
        navigator.recover(address)
        return true
    }

    /** Give the failures of earlier runs to the page, once: see [ExitReports]. */
    private fun reportExits(view: WebView) {
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.R) return
        val store = context.getSharedPreferences("exits", Context.MODE_PRIVATE)
        val manager = context.getSystemService(ActivityManager::class.java)
        val recorded =
            manager.getHistoricalProcessExitReasons(context.packageName, 0, MOST_EXITS).map {
                ProcessExit(it.reason, it.timestamp, it.importance <= RunningAppProcessInfo.IMPORTANCE_VISIBLE)
            }
        val exits = ExitReports.select(recorded, store.getLong("until", 0))
        if (exits.isEmpty()) return
        view.evaluateJavascript(ExitReports.toScript(exits)) { value ->
            if (ExitReports.isDecided(value)) store.edit().putLong("until", exits.last().at).apply()
        }
    }

    private companion object {
        const val MOST_EXITS = 16
    }
}
