package app.marquee

import android.app.Activity
import android.app.DownloadManager
import android.content.ActivityNotFoundException
import android.content.Intent
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.os.Environment
import android.view.View
import android.view.ViewGroup.LayoutParams
import android.view.WindowInsets
import android.webkit.CookieManager
import android.webkit.URLUtil
import android.webkit.WebSettings
import android.webkit.WebView
import android.widget.FrameLayout
import android.window.OnBackInvokedCallback
import android.window.OnBackInvokedDispatcher

/** The only window: it shows the app's pages and does what a page cannot do by itself. */
class MainActivity :
    Activity(),
    BrowserWindow {
    private lateinit var site: Site
    private lateinit var navigator: Navigator
    private lateinit var frame: FrameLayout
    private lateinit var page: WebView
    private var backCallback: OnBackInvokedCallback? = null

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        site = Site(getString(R.string.origin))
        navigator = Navigator(site, this)
        frame = FrameLayout(this)
        frame.setOnApplyWindowInsetsListener(::avoidBars)
        setContentView(frame)
        replacePage()
        // A state without pages, such as that of a first page that never loaded, restores nothing.
        if (state == null || page.restoreState(state) == null) navigator.open(intent.dataString)
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        intent.dataString?.let(navigator::open)
    }

    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        page.saveState(state)
    }

    override fun onDestroy() {
        page.destroy()
        super.onDestroy()
    }

    @Deprecated("Android calls it below API 33; from 33 on it calls the OnBackInvokedCallback.")
    @Suppress("DEPRECATION")
    override fun onBackPressed() {
        if (!navigator.goBack()) super.onBackPressed()
    }

    override fun load(address: String) = page.loadUrl(address)

    override fun canGoBack(): Boolean = page.canGoBack()

    override fun goBack() = page.goBack()

    override fun replacePage() {
        page = WebView(this)
        page.settings.apply {
            javaScriptEnabled = true
            domStorageEnabled = true
            allowFileAccess = false
            allowContentAccess = false
            mixedContentMode = WebSettings.MIXED_CONTENT_NEVER_ALLOW
            userAgentString = site.userAgent(userAgentString, BuildConfig.VERSION_NAME)
        }
        page.webViewClient = PageClient(this, navigator)
        page.setDownloadListener { address, _, disposition, type, _ -> download(address, disposition, type) }
        frame.removeAllViews()
        frame.addView(page, LayoutParams(LayoutParams.MATCH_PARENT, LayoutParams.MATCH_PARENT))
    }

    override fun openElsewhere(address: String) {
        try {
            startActivity(Intent(Intent.ACTION_VIEW, Uri.parse(address)))
        } catch (_: ActivityNotFoundException) {
            // No app on this device opens it, so the page stays.
        }
    }

    override fun handleBack(wanted: Boolean) {
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.TIRAMISU) return
        backCallback?.let(onBackInvokedDispatcher::unregisterOnBackInvokedCallback)
        backCallback = if (wanted) OnBackInvokedCallback { navigator.goBack() } else null
        backCallback?.let {
            onBackInvokedDispatcher.registerOnBackInvokedCallback(OnBackInvokedDispatcher.PRIORITY_DEFAULT, it)
        }
    }

    /** Keep the page clear of system bars and keyboard: from API 35 on, a window lies beneath them. */
    private fun avoidBars(view: View, insets: WindowInsets): WindowInsets {
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.R) return view.onApplyWindowInsets(insets)
        val bars = WindowInsets.Type.systemBars() or WindowInsets.Type.displayCutout() or WindowInsets.Type.ime()
        insets.getInsets(bars).let { view.setPadding(it.left, it.top, it.right, it.bottom) }
        return WindowInsets.CONSUMED
    }

    /** Download a file of the site, such as the export of the user's data, as the page's user. */
    private fun download(address: String, disposition: String?, type: String?) {
        if (!site.owns(address)) return
        val name = URLUtil.guessFileName(address, disposition, type)
        val request =
            DownloadManager
                .Request(Uri.parse(address))
                .addRequestHeader("Cookie", CookieManager.getInstance().getCookie(address).orEmpty())
                .setMimeType(type)
                .setNotificationVisibility(DownloadManager.Request.VISIBILITY_VISIBLE_NOTIFY_COMPLETED)
                .setDestinationInExternalFilesDir(this, Environment.DIRECTORY_DOWNLOADS, name)
        getSystemService(DownloadManager::class.java).enqueue(request)
    }
}
