package settle;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.net.HttpURLConnection;
import java.net.MalformedURLException;
import java.net.URL;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.text.ParseException;
import java.text.SimpleDateFormat;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TimeZone;
import java.util.UUID;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.FutureTask;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * The client of settle for Fire TV and other Android apps. It has no dependencies, and needs Java 8 and the classes of
 * Android 5.1 (Fire OS 5). How to use it is in README.md.
 *
 * <p>All methods may be called on any thread. Parameters and results are never null unless marked "nullable".
 */
public final class SettleClient implements Closeable {
    /** The version of this client, reported as {@code settle-java/VERSION}. */
    public static final String VERSION = "1.0.0";

    /** The limits of one request to settle: api/src/devices/README.md. */
    private static final int MAX_EVENTS = 500;
    private static final int MAX_BODY_BYTES = 1024 * 1024;
    private static final int MAX_EVENT_BYTES = 16 * 1024;
    private static final int MAX_RECEIPTS = 50;
    /** Upper bound for the size of a session start without its receipts. */
    private static final int SESSION_START_BYTES = 512;
    private static final int MAX_ANSWER_BYTES = 1024 * 1024;
    /** A session ends after this time without an event, as in settle. */
    private static final long SESSION_TIMEOUT_MS = 30 * 60 * 1000;
    /** Events are collected for this time and sent together. */
    private static final long GATHER_MS = 1000;
    /** Maximum time to connect, and between two reads; {@link Options#requestTimeout} limits the whole request. */
    private static final int MAX_SILENCE_MS = 15 * 1000;
    private static final long FIRST_BACKOFF_MS = 1000;
    private static final long MAX_BACKOFF_MS = 5 * 60 * 1000;
    private static final int MAX_RETRY_AFTER_S = 3600;
    /** Maximum size of the queued events in JSON. On the disk they may take three times as much. */
    private static final int MAX_QUEUED_BYTES = 4 * 1024 * 1024;
    private static final String EVENTS = "/v1/device/events";
    private static final String SESSION_START = "device.session.start";
    private static final String SESSION_END = "device.session.end";
    private static final Logger LOG = Logger.getLogger("settle");
    private static final SecureRandom RANDOM = new SecureRandom();

    private final Options options;
    private final String url;
    private final Files files;
    private final ScheduledExecutorService worker;
    /** One thread per request. The caller abandons it at the time limit. */
    private final ExecutorService network = Executors.newCachedThreadPool(work -> daemon(work, "settle-request"));
    private final Random jitter = new Random();

    /**
     * Held during a report, login or logout, so that they run one at a time. Acquired before {@link #lock}, never after
     * it.
     */
    private final Object turn = new Object();
    /** Guards all following fields. */
    private final Object lock = new Object();
    private final Queue queue;
    /** Null until its file can be read. Nothing is sent before that. */
    private volatile Map<String, Object> device;
    /** Sent with each request as a header, never in a body. Loaded with {@link #device}. */
    private volatile String secret;
    /** The JSON of the device while its file cannot be written; nullable. */
    private String unsavedDevice;
    /** Null when no session is open. */
    private String sessionId;
    private long lastEventAt;
    private ScheduledFuture<?> timer;
    private long timerAt;
    private int failures;
    /** The answer that refused the last batch; nullable. */
    private Answer refusal;
    /** No report is sent before this time, after failures. These times are values of {@link #monotonic}. */
    private long backoffUntil;
    /** No request is sent before this time, set by {@code Retry-After}. */
    private long closedUntil;
    /** No report is sent before this time, set by {@code Retry-After} of a refusal that concerns reports only. */
    private long reportsClosedUntil;
    private int maxEvents = MAX_EVENTS;
    /** The open requests. */
    private final Set<Exchange> exchanges = new HashSet<>();
    /** Number of changes of the stored entitlements, which prevents a late answer from replacing a newer one. */
    private long entitlementsVersion;
    private boolean isClosed;

    /**
     * Opens the folder and sends the queued events of an earlier start. Call it once per process.
     * @throws IllegalStateException when another client uses the folder.
     */
    public static SettleClient start(Options options) {
        return new SettleClient(options);
    }

    /**
     * Returns whether third parties on the network can read requests to a URL: over plain HTTP, except to this machine.
     */
    private static boolean isReadable(String url) {
        return url.matches("(?i)http:.*") && !url.matches("(?i)http://(localhost|127(\\.\\d+){3}|\\[::1\\])([:/].*)?");
    }

    private SettleClient(Options options) {
        this.options = options;
        this.url = options.url.replaceAll("/+$", "");
        if (isReadable(url)) {
            System.err.println("settle: by http: others can read the device's secret; use https:");
        }
        this.files = new Files(options.folder);
        this.queue = new Queue(files, options.maxQueued);
        this.worker = Executors.newSingleThreadScheduledExecutor(work -> daemon(work, "settle"));
        synchronized (lock) {
            long now = monotonic();
            backoffUntil = now;
            closedUntil = now;
            reportsClosedUntil = now;
            try {
                load();
            } catch (IOException unread) {
                files.failed(unread);
            }
            schedule(0);
        }
    }

    private static Thread daemon(Runnable work, String name) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        return thread;
    }

    /** Reads the device and the queue, unless both are loaded. */
    private void load() throws IOException {
        synchronized (lock) {
            loadDevice();
            queue.load();
        }
    }

    private void loadDevice() throws IOException {
        synchronized (lock) {
            if (device == null && isClosed) {
                throw new IOException("the client is closed");
            }
            if (device == null) {
                Map<String, Object> known = identify();
                secret = (String) known.get("secret");
                device = describeDevice(known);
            }
        }
    }

    /**
     * Returns the device of this installation. A stored id without a secret can never log in, so a new device replaces
     * it.
     * @throws IOException when its file cannot be read: it may hold a device that has been in use for years.
     */
    private Map<String, Object> identify() throws IOException {
        Map<String, Object> known = Json.object(files.read("device"));
        boolean isWhole = known != null;
        for (String name : new String[] {"id", "secret", "first_launch"}) {
            isWhole = isWhole && isText(known.get(name));
        }
        if (isWhole) {
            return known;
        }
        Map<String, Object> fresh = new LinkedHashMap<>();
        fresh.put("id", UUID.randomUUID().toString());
        fresh.put("secret", randomSecret());
        fresh.put("first_launch", time(options.clock.millis()));
        unsavedDevice = files.write("device", Json.text(fresh)) ? null : Json.text(fresh);
        return fresh;
    }

    private static boolean isText(Object value) {
        return value instanceof String && !((String) value).isEmpty();
    }

    private Map<String, Object> describeDevice(Map<String, Object> known) {
        Map<String, Object> os = new LinkedHashMap<>();
        os.put("name", options.osName);
        os.put("version", options.osVersion);
        Map<String, Object> described = new LinkedHashMap<>();
        described.put("id", known.get("id"));
        described.put("first_launch", known.get("first_launch"));
        described.put("app_version", options.appVersion);
        described.put("os", os);
        described.put("sdk_version", "settle-java/" + VERSION);
        put(described, "analytics_device_id", options.analyticsDeviceId);
        return described;
    }

    // Reports.

    /** The app is in use: call it in {@code onStart} of each activity. Starts a session unless one is open. */
    public void foreground() {
        continueSession();
        synchronized (lock) {
            backoffUntil = monotonic();
            schedule(0);
        }
    }

    /**
     * The app is hidden: call it in {@code onStop}. Sends the queued events. The session can continue for half an hour.
     */
    public void background() {
        synchronized (lock) {
            schedule(0);
        }
    }

    /** Ends the session because the customer leaves the app. Without this call, settle ends it at its last event. */
    public void endSession() {
        synchronized (lock) {
            if (!isSessionOver()) {
                enqueue(SESSION_END, "", null);
            }
            sessionId = null;
            schedule(0);
        }
    }

    /** Reports that a paywall was shown. Returns the id of the event, for {@link Transaction#impression}. */
    public String impression(Impression impression) {
        continueSession();
        return enqueue("device.impression", "impression", impression.fields);
    }

    /** Reports a purchase that was made or restored on the device. Returns the id of the event. */
    public String transaction(Transaction transaction) {
        continueSession();
        return enqueue("device.transaction", "transaction", transaction.fields);
    }

    private boolean isSessionOver() {
        synchronized (lock) {
            // The clock of a device may be set in either direction during a session.
            return sessionId == null || Math.abs(options.clock.millis() - lastEventAt) >= SESSION_TIMEOUT_MS;
        }
    }

    private void continueSession() {
        if (!isSessionOver()) {
            return;
        }
        // Methods of the app are called without a lock.
        List<Object> receipts = receipts();
        synchronized (lock) {
            if (isSessionOver()) {
                sessionId = UUID.randomUUID().toString();
                enqueue(SESSION_START, "receipts", receipts.isEmpty() ? null : receipts);
            }
        }
    }

    /** Returns the receipts of the app that fit into one event, in order. */
    private List<Object> receipts() {
        List<Object> shown = new ArrayList<>();
        int left = MAX_EVENT_BYTES - SESSION_START_BYTES;
        try {
            for (Receipt receipt : options.receipts.get()) {
                int size = bytes(Json.text(receipt.fields)).length + 1;
                if (shown.size() < MAX_RECEIPTS && size <= left) {
                    shown.add(receipt.fields);
                    left -= size;
                }
            }
        } catch (RuntimeException mistake) {
            LOG.log(Level.WARNING, "the app's receipts cannot be read", mistake);
        }
        return shown;
    }

    /** Queues an event and returns its id. From then on the event survives the end of the process. */
    private String enqueue(String type, String part, Object fields) {
        synchronized (lock) {
            long now = options.clock.millis();
            Map<String, Object> event = new LinkedHashMap<>();
            String id = UUID.randomUUID().toString();
            event.put("id", id);
            event.put("type", type);
            event.put("time", time(now));
            if (sessionId != null) {
                event.put("session_id", sessionId);
                lastEventAt = now;
            }
            put(event, part, fields);
            String text = Json.text(event);
            if (bytes(text).length > MAX_EVENT_BYTES) {
                FieldError error = new FieldError("event", "at most " + MAX_EVENT_BYTES + " bytes");
                reject(new Rejected(id, type, text, Collections.singletonList(error)));
            } else if (!isClosed) {
                if (unsavedDevice != null && files.write("device", unsavedDevice)) {
                    unsavedDevice = null;
                }
                queue.add(text);
                schedule(GATHER_MS);
            }
            return id;
        }
    }

    // Requests with a result. These methods block, so call them off the main thread.

    /**
     * Sends the queued events now, except before a time set by {@code Retry-After}. Returns after one attempt, even if
     * it failed.
     */
    public void flush() {
        synchronized (turn) {
            long last;
            synchronized (lock) {
                backoffUntil = monotonic();
                // Events get their numbers only when the queue is read.
                last = queue.isLoaded ? queue.next - 1 : Long.MAX_VALUE;
            }
            drain(last);
        }
    }

    /**
     * Sends the queued events, then identifies the customer who uses the device.
     * @param token signed by your server; nullable.
     * @throws RequestError when the login fails. The client does not repeat it: the app decides.
     */
    public Login login(String externalId, String token) throws RequestError {
        Map<String, Object> body = new LinkedHashMap<>();
        body.put("device", knownDevice());
        body.put("external_id", externalId);
        put(body, "token", token);
        Map<String, Object> answer = changeUser("login", body, Shape.LOGIN);
        return new Login(string(answer, "device_user_id"), string(answer, "external_id"));
    }

    /**
     * Sends the queued events, then gives the device a new anonymous user. Returns the {@code device_user_id}.
     * @throws RequestError as {@link #login}.
     */
    public String logout() throws RequestError {
        Map<String, Object> body = new LinkedHashMap<>();
        synchronized (turn) {
            // Even without an answer, so that no other user sees them.
            forgetEntitlements();
            try {
                body.put("device", knownDevice());
                return string(changeUser("logout", body, Shape.LOGOUT), "device_user_id");
            } finally {
                forgetEntitlements();
            }
        }
    }

    private Map<String, Object> changeUser(String action, Map<String, Object> body, Shape shape) throws RequestError {
        synchronized (turn) {
            // Earlier reports belong to the previous user: settle assigns reports to the user who is logged in when
            // they arrive.
            flush();
            Answer refused;
            synchronized (lock) {
                refused = refusal;
            }
            // Reports that exceed the daily quota stay queued and do not delay the customer.
            if (refused != null && isTransient(refused.status) && !refused.isOfReports()) {
                throw new RequestError(refused);
            }
            Answer answer = call("POST", "/v1/device/" + action, Json.text(body), null, shape);
            forgetEntitlements();
            return answer.body;
        }
    }

    private void forgetEntitlements() {
        synchronized (lock) {
            entitlementsVersion += 1;
            files.remove("entitlements");
        }
    }

    /**
     * Returns the current entitlements of the device. Without a connection, returns the last answer with {@code
     * isCurrent} false.
     * @throws RequestError when there is neither a connection nor an earlier answer.
     */
    public Entitlements entitlements() throws RequestError {
        String id = string(knownDevice(), "id");
        Map<String, Object> known;
        long version;
        synchronized (lock) {
            known = knownEntitlements(id);
            version = entitlementsVersion;
        }
        try {
            String path = "/v1/device/entitlements?device_id=" + id;
            Answer answer = call("GET", path, null, string(known, "etag"), Shape.ENTITLEMENTS);
            if (answer.status == 200) {
                storeEntitlements(id, answer, version);
                return new Entitlements(answer.body, true);
            }
            if (known == null) {
                throw new RequestError(answer);
            }
            return new Entitlements(Json.asObject(known.get("body")), true);
        } catch (RequestError error) {
            Map<String, Object> last = knownEntitlements(id);
            if (last == null || !isTransient(error.status)) {
                throw error;
            }
            return new Entitlements(Json.asObject(last.get("body")), false);
        }
    }

    /** Stores an answer for use without a connection, unless a login, a logout or another answer came first. */
    private void storeEntitlements(String id, Answer answer, long version) {
        Map<String, Object> latest = new LinkedHashMap<>();
        latest.put("device_id", id);
        latest.put("etag", answer.etag);
        latest.put("body", answer.body);
        synchronized (lock) {
            if (!isClosed && version == entitlementsVersion) {
                entitlementsVersion += 1;
                files.write("entitlements", Json.text(latest));
            }
        }
    }

    /** Returns the device for a change or query of its user. */
    private Map<String, Object> knownDevice() throws RequestError {
        try {
            loadDevice();
            return device;
        } catch (IOException unread) {
            throw new RequestError(Answer.none(unread));
        }
    }

    /** Returns the last answer for this device, its {@code body} with its {@code etag}; nullable. */
    private Map<String, Object> knownEntitlements(String id) {
        try {
            Map<String, Object> known = Json.object(files.read("entitlements"));
            boolean isOwn = id.equals(string(known, "device_id"));
            return isOwn && Shape.ENTITLEMENTS.fits(Json.asObject(known.get("body"))) ? known : null;
        } catch (IOException unread) {
            return null;
        }
    }

    /** Returns the current state of the client. */
    public State state() {
        synchronized (lock) {
            boolean isPersistent = device != null && unsavedDevice == null && queue.isPersistent();
            return new State(string(device, "id"), sessionId, queue.size(), queue.dropped, isPersistent);
        }
    }

    /**
     * Aborts open requests and closes the folder. Queued events remain for the next start, and the session stays open.
     * Blocks for file operations at most.
     */
    @Override
    public void close() {
        synchronized (lock) {
            if (isClosed) {
                return;
            }
            isClosed = true;
            for (Exchange exchange : exchanges) {
                exchange.end();
            }
            worker.shutdownNow();
            network.shutdown();
            queue.close();
            files.close();
        }
    }

    // Sending.

    /** Schedules sending after this delay at the latest. */
    private void schedule(long delay) {
        synchronized (lock) {
            long at = monotonic() + delay;
            if (isClosed || (timer != null && timerAt <= at)) {
                return;
            }
            if (timer != null) {
                timer.cancel(false);
            }
            timerAt = at;
            timer = worker.schedule(() -> {
                synchronized (lock) {
                    timer = null;
                }
                drain(Long.MAX_VALUE);
            }, delay, TimeUnit.MILLISECONDS);
        }
    }

    /** Sends batches until all events up to this number are sent, or one batch fails. */
    private void drain(long last) {
        boolean isSent = true;
        while (isSent) {
            synchronized (turn) {
                isSent = sendBatch(last);
            }
        }
    }

    /** Sends one batch if an event up to this number is queued. Returns whether another batch may follow. */
    private boolean sendBatch(long last) {
        List<Entry> batch;
        String body;
        synchronized (lock) {
            boolean isLoaded = device != null && queue.isLoaded;
            if (isClosed || (isLoaded && !queue.hasThrough(last))) {
                return false;
            }
            long wait = Math.max(reportsOpenAt(), backoffUntil) - monotonic();
            if (wait > 0) {
                schedule(wait);
                return false;
            }
            try {
                load();
            } catch (IOException unread) {
                putOff(Answer.none(unread));
                return false;
            }
            int envelope = bytes(report(Collections.<Entry>emptyList())).length;
            batch = queue.batch(maxEvents, MAX_BODY_BYTES - envelope);
            if (batch.isEmpty()) {
                // The earlier failure was reading the files. No later request would clear it.
                failures = 0;
                refusal = null;
                return false;
            }
            body = report(batch);
        }
        Answer answer = request("POST", EVENTS, body, null, Shape.REPORT);
        List<Object> rejected = answer.status == 200 ? Json.asList(answer.body.get("rejected")) : null;
        synchronized (lock) {
            if (isClosed) {
                return false;
            }
            if (rejected == null) {
                // A proxy between the client and settle limits the size of bodies.
                if (answer.status == 413) {
                    maxEvents = Math.max(1, batch.size() / 2);
                }
                putOff(answer);
                return false;
            }
            failures = 0;
            refusal = null;
            queue.removeThrough(batch.get(batch.size() - 1).number);
        }
        for (Object one : rejected) {
            Map<String, Object> named = Json.asObject(one);
            Object index = named == null ? null : named.get("index");
            if (index instanceof Double && (Double) index >= 0 && (Double) index < batch.size()) {
                String text = batch.get(((Double) index).intValue()).text;
                Map<String, Object> event = Json.object(text);
                List<FieldError> errors = fieldErrors(named.get("errors"));
                reject(new Rejected(string(event, "id"), string(event, "type"), text, errors));
            }
        }
        return true;
    }

    /** Returns the body of a report. settle corrects a wrong device clock by {@code sent_at}. */
    private String report(List<Entry> batch) {
        StringBuilder body = new StringBuilder("{\"device\":").append(Json.text(device));
        body.append(",\"sent_at\":\"").append(time(options.clock.millis())).append("\",\"events\":[");
        for (int at = 0; at < batch.size(); at += 1) {
            body.append(at == 0 ? "" : ",").append(batch.get(at).text);
        }
        return body.append("]}").toString();
    }

    /** Delays reports: exponential back-off with full jitter, added to the time of {@code Retry-After}. */
    private void putOff(Answer answer) {
        // Failures that only a change of settings can correct are retried rarely.
        long longest = FIRST_BACKOFF_MS << Math.min(failures + 1, 20);
        long bound = isTransient(answer.status) ? Math.min(longest, MAX_BACKOFF_MS) : MAX_BACKOFF_MS;
        failures += 1;
        refusal = answer;
        long now = monotonic();
        backoffUntil = Math.max(reportsOpenAt(), now) + (long) (jitter.nextDouble() * bound);
        schedule(backoffUntil - now);
        notice(() -> options.listener.onError(new RequestError(answer)));
    }

    /** Returns when settle accepts reports again, as far as {@code Retry-After} says. */
    private long reportsOpenAt() {
        return Math.max(closedUntil, reportsClosedUntil);
    }

    private void reject(Rejected rejected) {
        notice(() -> options.listener.onRejected(rejected));
    }

    /** Calls the app on the client's thread, without a lock. Exceptions of the app are logged. */
    private void notice(Runnable call) {
        try {
            worker.execute(() -> {
                try {
                    call.run();
                } catch (RuntimeException mistake) {
                    LOG.log(Level.WARNING, "the app's listener failed", mistake);
                }
            });
        } catch (RejectedExecutionException closed) {
            LOG.log(Level.FINE, "the client is closed", closed);
        }
    }

    /** Sends a request whose result the app needs. */
    private Answer call(String method, String path, String body, String etag, Shape shape) throws RequestError {
        synchronized (lock) {
            long wait = (closedUntil - monotonic() + 999) / 1000;
            if (wait > 0) {
                throw new RequestError(new Answer(429, null, null, (int) wait));
            }
        }
        Answer answer = request(method, path, body, etag, shape);
        if (answer.status != 200 && answer.status != 304) {
            throw new RequestError(answer);
        }
        return answer;
    }

    /** Sends a request without holding {@link #lock}. Never fails, and returns within the time limit. */
    private Answer request(String method, String path, String body, String etag, Shape shape) {
        Answer answer = answer(new Exchange(method, path, body, etag));
        if (answer.status == 200 && !shape.fits(answer.body)) {
            return Answer.notOfSettle(200);
        }
        if (answer.retryAfter != null && (answer.status == 429 || answer.status == 503)) {
            synchronized (lock) {
                long until = monotonic() + answer.retryAfter * 1000L;
                if (!answer.isOfReports()) {
                    closedUntil = until;
                } else if (path.equals(EVENTS)) {
                    reportsClosedUntil = until;
                }
            }
        }
        return answer;
    }

    private Answer answer(Exchange exchange) {
        synchronized (lock) {
            if (isClosed) {
                return Answer.none(new IOException("the client is closed"));
            }
            exchanges.add(exchange);
            network.execute(exchange.result);
        }
        try {
            return exchange.result.get(options.requestTimeout, TimeUnit.MILLISECONDS);
        } catch (ExecutionException failure) {
            return Answer.none(failure.getCause());
        } catch (TimeoutException | CancellationException none) {
            return Answer.none(none);
        } catch (InterruptedException none) {
            Thread.currentThread().interrupt();
            return Answer.none(none);
        } finally {
            synchronized (lock) {
                exchanges.remove(exchange);
                if (!isClosed) {
                    exchange.end();
                }
            }
        }
    }

    private Answer answer(HttpURLConnection connection) throws IOException {
        int status = connection.getResponseCode();
        Map<String, Object> body = null;
        InputStream stream = status >= 400 ? connection.getErrorStream() : connection.getInputStream();
        if (stream != null) {
            try (InputStream in = stream) {
                body = Json.object(text(in));
            }
        }
        // For example, the login page of a hotel network answers 200 or a redirect in place of settle.
        if ((status == 200 && body == null) || (status != 200 && status != 304 && status < 400)) {
            return Answer.notOfSettle(status);
        }
        return new Answer(status, body, connection.getHeaderField("ETag"), retryAfter(connection));
    }

    /** Returns the text of an answer: at most one mebibyte, within the time limit of a request. */
    private static String text(InputStream in) throws IOException {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        byte[] part = new byte[8192];
        long late = monotonic() + MAX_SILENCE_MS;
        for (int read = in.read(part); read >= 0; read = in.read(part)) {
            all.write(part, 0, read);
            if (all.size() > MAX_ANSWER_BYTES || monotonic() > late) {
                throw new IOException("the answer is too long, or takes too long");
            }
        }
        return new String(all.toByteArray(), StandardCharsets.UTF_8);
    }

    /** Returns the seconds in {@code Retry-After}, which may be a date; nullable. */
    private Integer retryAfter(HttpURLConnection connection) {
        String text = connection.getHeaderField("Retry-After");
        if (text == null) {
            return null;
        }
        if (text.matches("\\d+")) {
            return text.length() > 9 ? MAX_RETRY_AFTER_S : Math.min(Integer.parseInt(text), MAX_RETRY_AFTER_S);
        }
        try {
            SimpleDateFormat format = new SimpleDateFormat("EEE, dd MMM yyyy HH:mm:ss zzz", Locale.US);
            // The clock of the device may be wrong, so the date in settle's answer is used.
            long now = connection.getHeaderFieldDate("Date", options.clock.millis());
            long seconds = (format.parse(text).getTime() - now) / 1000;
            return seconds < 0 ? null : Integer.valueOf((int) Math.min(seconds, MAX_RETRY_AFTER_S));
        } catch (ParseException wrong) {
            return null;
        }
    }

    /** Returns whether the same request may succeed later. */
    private static boolean isTransient(int status) {
        return status == 0 || status == 408 || status == 413 || status == 429 || status >= 500;
    }

    /** Returns milliseconds of a clock that cannot be set, for measuring durations. */
    private static long monotonic() {
        return System.nanoTime() / 1_000_000;
    }

    private static String time(long millis) {
        SimpleDateFormat format = new SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", Locale.US);
        format.setTimeZone(TimeZone.getTimeZone("UTC"));
        return format.format(new Date(millis));
    }

    /** Returns 32 random bytes in base64url without padding: the secret that authenticates the device. */
    private static String randomSecret() {
        String letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        byte[] bytes = new byte[32];
        RANDOM.nextBytes(bytes);
        StringBuilder text = new StringBuilder();
        for (int bit = 0; bit < 256; bit += 6) {
            int pair = (bytes[bit / 8] & 0xff) << 8 | (bit / 8 + 1 < 32 ? bytes[bit / 8 + 1] & 0xff : 0);
            text.append(letters.charAt(pair >> (10 - bit % 8) & 63));
        }
        return text.toString();
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static void put(Map<String, Object> map, String name, Object value) {
        if (value != null) {
            map.put(name, value);
        }
    }

    /** Returns the text of a field; nullable. */
    private static String string(Map<String, Object> map, String name) {
        Object value = map == null ? null : map.get(name);
        return value instanceof String ? (String) value : null;
    }

    private static List<FieldError> fieldErrors(Object list) {
        List<FieldError> errors = new ArrayList<>();
        List<Object> all = Json.asList(list);
        for (Object one : all == null ? Collections.emptyList() : all) {
            Map<String, Object> error = Json.asObject(one);
            errors.add(new FieldError(string(error, "field"), string(error, "expected")));
        }
        return Collections.unmodifiableList(errors);
    }

    // Parameters of an app.

    /** The settings of a client. */
    public static final class Options {
        private final String url;
        private final String key;
        private final String appVersion;
        private final File folder;
        private String osName = "Dalvik".equals(System.getProperty("java.vm.name")) ? "fireos" : "java";
        private String osVersion = System.getProperty("os.version", "unknown");
        private String analyticsDeviceId;
        private int maxQueued = 1000;
        private int requestTimeout = 30 * 1000;
        private Receipts receipts = Collections::emptyList;
        private Listener listener = new Listener() {};
        private Clock clock = System::currentTimeMillis;

        /**
         * @param url the URL of settle, such as {@code https://settle.example.com}.
         * @param key the publishable key of the platform: {@code pk_…}. It is in every copy of the app, so it is not
         * secret.
         * @param appVersion the version of the app.
         * @param folder where the client stores its files. Only this app may read it, such as a folder in
         * {@code getNoBackupFilesDir()}: a backup restored on another device would be the same device. Each platform
         * needs its own folder.
         */
        public Options(String url, String key, String appVersion, File folder) {
            if (!isText(url) || !isText(key) || !isText(appVersion) || folder == null) {
                throw new IllegalArgumentException("SettleClient needs url, key, appVersion and folder");
            }
            try {
                new URL(url);
            } catch (MalformedURLException wrong) {
                throw new IllegalArgumentException("url: expected one such as https://settle.example.com", wrong);
            }
            this.url = url;
            this.key = key;
            this.appVersion = appVersion;
            this.folder = folder;
        }

        /** The operating system, such as {@code fireos} and {@code Build.VERSION.RELEASE}. */
        public Options os(String name, String version) {
            this.osName = name;
            this.osVersion = version;
            return this;
        }

        /**
         * The receipts on the device, called at the start of each session on the thread that starts it. The first
         * receipts are reported: at most 50, within 15 KiB.
         */
        public Options receipts(Receipts receipts) {
            this.receipts = receipts;
            return this;
        }

        /** Receives refused events and failures. */
        public Options listener(Listener listener) {
            this.listener = listener;
            return this;
        }

        /** The app's own device id in Amplitude, if it uses Amplitude itself; nullable. */
        public Options analyticsDeviceId(String id) {
            this.analyticsDeviceId = id;
            return this;
        }

        /**
         * Maximum number of queued events, within four mebibytes in total; default 1000. Beyond it the oldest events
         * are dropped and counted.
         */
        public Options maxQueued(int events) {
            if (events < 1) {
                throw new IllegalArgumentException("maxQueued is at least 1");
            }
            this.maxQueued = events;
            return this;
        }

        /** Maximum duration of a request in milliseconds, default 30,000: a report may have a mebibyte. */
        public Options requestTimeout(int millis) {
            if (millis < 1) {
                throw new IllegalArgumentException("requestTimeout is at least 1");
            }
            this.requestTimeout = millis;
            return this;
        }

        /** The clock of the device; replaceable for tests. */
        public Options clock(Clock clock) {
            this.clock = clock;
            return this;
        }
    }

    /** The receipts on the device. */
    public interface Receipts {
        List<Receipt> get();
    }

    /** The clock of the device. */
    public interface Clock {
        /** Milliseconds since 1970. */
        long millis();
    }

    /** Receives failures, on the client's own thread. */
    public interface Listener {
        /** Receives an event that settle refused. It is removed from the queue, because it would be refused again. */
        default void onRejected(Rejected rejected) {}

        /** Receives the failure of a report. Its events stay queued and are sent again. */
        default void onError(RequestError error) {}
    }

    /** A receipt on the device. */
    public static final class Receipt {
        private final Map<String, Object> fields = new LinkedHashMap<>();

        public Receipt(String receiptId, String appUserId) {
            fields.put("receipt_id", receiptId);
            fields.put("app_user_id", appUserId);
        }
    }

    /** A paywall that was shown. */
    public static final class Impression {
        private final Map<String, Object> fields = new LinkedHashMap<>();
        private final List<Object> products = new ArrayList<>();

        public Impression(String paywall) {
            fields.put("paywall", paywall);
        }

        public Impression placement(String placement) {
            fields.put("placement", placement);
            return this;
        }

        public Impression campaign(String campaign) {
            fields.put("campaign", campaign);
            return this;
        }

        public Impression variant(String variant) {
            fields.put("variant", variant);
            return this;
        }

        /**
         * Adds a product on the paywall.
         *
         * @param price a decimal text, such as {@code 9.99}; nullable.
         * @param currency ISO 4217; required with a price, else nullable.
         * @param isTrialEligible whether the customer may begin a trial; nullable.
         */
        public Impression product(String sku, String price, String currency, Boolean isTrialEligible) {
            Map<String, Object> product = new LinkedHashMap<>();
            product.put("sku", sku);
            put(product, "price", price);
            put(product, "currency", currency);
            put(product, "is_trial_eligible", isTrialEligible);
            products.add(product);
            fields.put("products", products);
            return this;
        }
    }

    /** A purchase that was made or restored on the device. */
    public static final class Transaction {
        private final Map<String, Object> fields = new LinkedHashMap<>();

        private Transaction(String kind, String receiptId, String appUserId, String sku) {
            fields.put("kind", kind);
            fields.put("receipt_id", receiptId);
            fields.put("app_user_id", appUserId);
            fields.put("sku", sku);
        }

        /** @param sku the SKU of the term. */
        public static Transaction purchased(String receiptId, String appUserId, String sku) {
            return new Transaction("purchased", receiptId, appUserId, sku);
        }

        /** @param sku the SKU of the term. */
        public static Transaction restored(String receiptId, String appUserId, String sku) {
            return new Transaction("restored", receiptId, appUserId, sku);
        }

        /**
         * @param price a decimal text, such as {@code 9.99}.
         * @param currency ISO 4217.
         */
        public Transaction price(String price, String currency) {
            fields.put("price", price);
            fields.put("currency", currency);
            return this;
        }

        /** The country of the customer's marketplace. */
        public Transaction marketplace(String marketplace) {
            fields.put("marketplace", marketplace);
            return this;
        }

        /** The id that {@link SettleClient#impression} returned for the paywall that led to the purchase. */
        public Transaction impression(String impressionId) {
            fields.put("impression_id", impressionId);
            return this;
        }
    }

    // Results.

    /** The result of a login. */
    public static final class Login {
        /** The device's own user, named by its events before the first login. */
        public final String deviceUserId;
        public final String externalId;

        private Login(String deviceUserId, String externalId) {
            this.deviceUserId = deviceUserId;
            this.externalId = externalId;
        }
    }

    /** The entitlements of the device. */
    public static final class Entitlements {
        public final String deviceUserId;
        public final List<Entitlement> entitlements;
        /** Whether this is a current answer of settle. If false, it is the last one: compare {@code expiration}. */
        public final boolean isCurrent;

        private Entitlements(Map<String, Object> body, boolean isCurrent) {
            List<Entitlement> all = new ArrayList<>();
            List<Object> listed = Json.asList(body.get("entitlements"));
            for (Object one : listed == null ? Collections.emptyList() : listed) {
                all.add(new Entitlement(Json.asObject(one)));
            }
            this.deviceUserId = string(body, "device_user_id");
            this.entitlements = Collections.unmodifiableList(all);
            this.isCurrent = isCurrent;
        }
    }

    /** An entitlement of the device. */
    public static final class Entitlement {
        public final String entitlementRefId;
        public final String name;
        /** An RFC 3339 time, such as {@code 2026-12-31T12:00:00Z}; nullable. */
        public final String expiration;
        /** Nullable. */
        public final String skuRefId;
        public final String purchasePlatform;

        private Entitlement(Map<String, Object> fields) {
            this.entitlementRefId = string(fields, "entitlement_ref_id");
            this.name = string(fields, "name");
            this.expiration = string(fields, "expiration");
            this.skuRefId = string(fields, "sku_ref_id");
            this.purchasePlatform = string(fields, "purchase_platform");
        }
    }

    /** An event that settle refused. */
    public static final class Rejected {
        public final String eventId;
        public final String type;
        /** The event as JSON. */
        public final String json;
        public final List<FieldError> errors;

        private Rejected(String eventId, String type, String json, List<FieldError> errors) {
            this.eventId = eventId;
            this.type = type;
            this.json = json;
            this.errors = errors;
        }
    }

    /** A wrong field. */
    public static final class FieldError {
        public final String field;
        public final String expected;

        private FieldError(String field, String expected) {
            this.field = field;
            this.expected = expected;
        }

        @Override
        public String toString() {
            return field + ": expected " + expected;
        }
    }

    /** The failure of a request. */
    public static final class RequestError extends IOException {
        private static final long serialVersionUID = 1;
        /** The HTTP status; 0 without an answer. */
        public final int status;
        /** Seconds until settle accepts the next request; nullable. */
        public final Integer retryAfter;
        /** The wrong fields in the problem details (RFC 9457) of the answer; nullable. */
        public final String detail;

        private RequestError(Answer answer) {
            super(message(answer), answer.failure);
            this.status = answer.status;
            this.retryAfter = answer.retryAfter;
            this.detail = string(answer.body, "detail");
        }

        private static String message(Answer answer) {
            String text = answer.status == 0 ? "settle did not answer" : "settle answered " + answer.status;
            String detail = string(answer.body, "detail");
            String why = detail == null ? string(answer.body, "title") : detail;
            return why == null ? text : text + ": " + why;
        }
    }

    /** The state of a client. */
    public static final class State {
        /** Null when its file cannot be read. */
        public final String deviceId;
        /** Null when no session is open. */
        public final String sessionId;
        /** Number of queued events. */
        public final int queued;
        /** Number of events dropped from a full queue since the app was installed. */
        public final long dropped;
        /** Whether the queue and the device, including its secret, survive the end of the process. */
        public final boolean isPersistent;

        private State(String deviceId, String sessionId, int queued, long dropped, boolean isPersistent) {
            this.deviceId = deviceId;
            this.sessionId = sessionId;
            this.queued = queued;
            this.dropped = dropped;
            this.isPersistent = isPersistent;
        }
    }

    // Internals.

    /** A request on its own thread. */
    private final class Exchange {
        final FutureTask<Answer> result = new FutureTask<>(this::send);
        private final String method;
        private final String path;
        private final String body;
        private final String etag;
        /** Null before the connection is opened and after it is closed. */
        private volatile HttpURLConnection opened;

        Exchange(String method, String path, String body, String etag) {
            this.method = method;
            this.path = path;
            this.body = body;
            this.etag = etag;
        }

        /** Aborts the request if it is open, without blocking. */
        void end() {
            result.cancel(true);
            HttpURLConnection late = opened;
            if (late != null) {
                network.execute(late::disconnect);
            }
        }

        private Answer send() throws IOException {
            HttpURLConnection connection = (HttpURLConnection) new URL(url + path).openConnection();
            opened = connection;
            try {
                connection.setRequestMethod(method);
                connection.setConnectTimeout(MAX_SILENCE_MS);
                connection.setReadTimeout(MAX_SILENCE_MS);
                // The secret must be sent only to settle.
                connection.setInstanceFollowRedirects(false);
                connection.setUseCaches(false);
                connection.setRequestProperty("Authorization", "Bearer " + options.key);
                connection.setRequestProperty("Settle-Device-Secret", secret);
                connection.setRequestProperty("Accept", "application/json");
                if (etag != null) {
                    connection.setRequestProperty("If-None-Match", etag);
                }
                if (body != null) {
                    byte[] bytes = bytes(body);
                    connection.setDoOutput(true);
                    connection.setRequestProperty("Content-Type", "application/json");
                    // With a fixed length the platform does not repeat requests itself.
                    connection.setFixedLengthStreamingMode(bytes.length);
                    try (OutputStream out = connection.getOutputStream()) {
                        out.write(bytes);
                    }
                }
                return answer(connection);
            } finally {
                connection.disconnect();
                opened = null;
            }
        }
    }

    /** The required fields of a 200 of settle. A proxy may answer in its place, also in JSON. */
    private enum Shape {
        REPORT(null, "rejected"),
        LOGIN(null, null, "device_user_id", "external_id"),
        LOGOUT(null, null, "device_user_id"),
        ENTITLEMENT(null, null, "entitlement_ref_id", "name", "purchase_platform"),
        ENTITLEMENTS(ENTITLEMENT, "entitlements", "device_user_id");

        /** The shape of each item in the list; nullable. */
        private final Shape items;
        /** The name of the list field; nullable. */
        private final String list;
        private final String[] texts;

        Shape(Shape items, String list, String... texts) {
            this.items = items;
            this.list = list;
            this.texts = texts;
        }

        /** @param body nullable. */
        boolean fits(Map<String, Object> body) {
            if (body == null) {
                return false;
            }
            for (String name : texts) {
                if (!(body.get(name) instanceof String)) {
                    return false;
                }
            }
            List<Object> all = list == null ? Collections.emptyList() : Json.asList(body.get(list));
            for (Object one : all == null || items == null ? Collections.emptyList() : all) {
                if (!items.fits(Json.asObject(one))) {
                    return false;
                }
            }
            return all != null;
        }
    }

    private static final class Answer {
        final int status;
        final Map<String, Object> body;
        final String etag;
        final Integer retryAfter;
        /** The cause when there is no answer; nullable. */
        final Throwable failure;

        Answer(int status, Map<String, Object> body, String etag, Integer retryAfter) {
            this(status, body, etag, retryAfter, null);
        }

        private Answer(int status, Map<String, Object> body, String etag, Integer retryAfter, Throwable failure) {
            this.status = status;
            this.body = body;
            this.etag = etag;
            this.retryAfter = retryAfter;
            this.failure = failure;
        }

        /** Returns a failure in place of an answer: none arrived, or it was not from settle. */
        static Answer none(Throwable failure) {
            return new Answer(0, null, null, null, failure);
        }

        static Answer notOfSettle(int status) {
            return none(new IOException("status " + status + ", not from settle"));
        }

        /** Returns whether the refusal concerns reports only: the daily quota is used up, or the disk is full. */
        boolean isOfReports() {
            String type = string(body, "type");
            return type != null && (type.endsWith(":device_quota") || type.endsWith(":no_room"));
        }
    }

    /** The client's folder. Each file is replaced atomically: after a crash it has its old or its new content. */
    private static final class Files {
        /** The folders of all clients in this process. */
        private static final Set<File> IN_USE = new HashSet<>();
        final File folder;
        private final File canonical;
        private RandomAccessFile held;
        private boolean isWorking = true;

        Files(File folder) {
            this.folder = folder;
            this.canonical = canonical(folder);
            // First, because closing any descriptor of a file releases all locks of the process on it (POSIX).
            boolean isFirst;
            synchronized (IN_USE) {
                isFirst = IN_USE.add(canonical);
            }
            boolean isFree = isFirst && lock();
            if (isFirst && !isFree) {
                close();
            }
            if (!isFree) {
                throw new IllegalStateException("another SettleClient uses " + folder);
            }
        }

        private static File canonical(File folder) {
            try {
                return folder.getCanonicalFile();
            } catch (IOException failure) {
                return folder.getAbsoluteFile();
            }
        }

        /** Creates the folder and locks it against other processes. Returns false only if another process uses it. */
        private boolean lock() {
            if (!folder.isDirectory() && !folder.mkdirs()) {
                failed(new IOException(folder + " cannot be created"));
                return true;
            }
            try {
                held = new RandomAccessFile(new File(folder, "lock"), "rw");
                return held.getChannel().tryLock() != null;
            } catch (OverlappingFileLockException mistake) {
                return false;
            } catch (IOException failure) {
                failed(failure);
                return true;
            }
        }

        /** Logs the first of consecutive failures. */
        private void failed(IOException failure) {
            LOG.log(isWorking ? Level.WARNING : Level.FINE, "what waits is in memory only", failure);
            isWorking = false;
        }

        /**
         * Returns the text of a file; null if the file does not exist.
         * @throws IOException when the file may exist but cannot be read.
         */
        String read(String name) throws IOException {
            File file = new File(folder, name);
            try (FileInputStream in = new FileInputStream(file)) {
                ByteArrayOutputStream all = new ByteArrayOutputStream();
                byte[] part = new byte[8192];
                for (int read = in.read(part); read >= 0; read = in.read(part)) {
                    all.write(part, 0, read);
                }
                return new String(all.toByteArray(), StandardCharsets.UTF_8);
            } catch (IOException failure) {
                if (isMissing(file.getAbsoluteFile())) {
                    return null;
                }
                throw failure;
            }
        }

        /**
         * Returns whether a file does not exist. Only a folder that can be listed proves it: {@code exists} may fail,
         * too.
         */
        private static boolean isMissing(File file) {
            File parent = file.getParentFile();
            if (parent == null) {
                return false;
            }
            String[] names = parent.list();
            if (names == null) {
                return parent.isFile() || isMissing(parent);
            }
            return !Arrays.asList(names).contains(file.getName());
        }

        /** Replaces a file. Returns whether it is stored on the disk. */
        boolean write(String name, String text) {
            File next = new File(folder, name + ".next");
            try (FileOutputStream out = new FileOutputStream(next)) {
                out.write(bytes(text));
                out.getFD().sync();
            } catch (IOException failure) {
                failed(failure);
                // A partial file would occupy space on a full disk.
                remove(next.getName());
                return false;
            }
            isWorking = next.renameTo(new File(folder, name));
            return isWorking;
        }

        void remove(String name) {
            File file = new File(folder, name);
            if (file.exists() && !file.delete()) {
                LOG.log(Level.WARNING, "{0} cannot be removed", file);
            }
        }

        void close() {
            try {
                if (held != null) {
                    held.close();
                }
            } catch (IOException failure) {
                LOG.log(Level.FINE, "the lock", failure);
            }
            synchronized (IN_USE) {
                IN_USE.remove(canonical);
            }
        }
    }

    private static final class Entry {
        final long number;
        final String text;
        final int size;

        Entry(long number, String text) {
            this.number = number;
            this.text = text;
            this.size = bytes(text).length;
        }
    }

    /**
     * The queued events, oldest first, in memory and in a log on the disk. A line of the log adds an event ({@code
     * +JSON}), removes the oldest sent events ({@code -COUNT}), drops the oldest events of a full queue ({@code
     * !COUNT}), or gives the number of events dropped before the log began ({@code =COUNT}). An incomplete last line is
     * ignored.
     */
    private static final class Queue {
        private static final String NAME = "queue";
        /** A smaller log is not compacted. */
        private static final int MIN_LOG_BYTES = 32 * 1024;
        private final Files files;
        private final int limit;
        private final ArrayDeque<Entry> entries = new ArrayDeque<>();
        /** Total size of the entries in bytes. */
        private long size;
        private long next;
        private long dropped;
        /** Null when the log can only be replaced. */
        private RandomAccessFile log;
        /** Size of the complete lines of the log in bytes. */
        private long length;
        /** Lines that could not be written because the disk was full. */
        private final StringBuilder pending = new StringBuilder();
        /** Whether the log was read. Before that, events are kept in memory and the log is not overwritten. */
        private boolean isLoaded;

        Queue(Files files, int limit) {
            this.files = files;
            this.limit = limit;
        }

        /** Reads the log once. Events that were added before are put after its events. */
        void load() throws IOException {
            if (isLoaded) {
                return;
            }
            String text = files.read(NAME);
            List<Entry> early = new ArrayList<>(entries);
            long droppedEarly = dropped;
            entries.clear();
            size = 0;
            dropped = 0;
            isLoaded = true;
            if (replay(text) || !rewrite()) {
                open();
            }
            for (Entry entry : early) {
                put(entry.text);
                pending.append('+').append(entry.text).append('\n');
            }
            dropped += droppedEarly;
            if (!early.isEmpty()) {
                append("=" + droppedEarly, true);
            }
            dropSurplus();
        }

        /** Applies the lines of a log. Returns whether the log can be extended unchanged. */
        private boolean replay(String text) {
            if (text == null) {
                return true;
            }
            boolean isWhole = text.isEmpty() || text.endsWith("\n");
            int from = 0;
            for (int end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
                isWhole &= repeat(text.substring(from, end));
                from = end + 1;
            }
            return isWhole;
        }

        private boolean repeat(String line) {
            char kind = line.isEmpty() ? ' ' : line.charAt(0);
            String rest = line.isEmpty() ? "" : line.substring(1);
            if (kind == '+' && Json.object(rest) != null) {
                put(rest);
                return true;
            }
            if ("-!=".indexOf(kind) < 0 || !rest.matches("\\d{1,18}")) {
                return false;
            }
            long count = Long.parseLong(rest);
            dropped += kind == '-' ? 0 : count;
            for (long at = 0; kind != '=' && at < count && !entries.isEmpty(); at += 1) {
                take();
            }
            return true;
        }

        private void open() {
            try {
                log = new RandomAccessFile(new File(files.folder, NAME), "rw");
                length = log.length();
                for (int last = 0; length > 0 && last != '\n'; length -= last == '\n' ? 0 : 1) {
                    log.seek(length - 1);
                    last = log.read();
                }
                cut(length);
            } catch (IOException failure) {
                log = null;
                files.failed(failure);
            }
        }

        boolean isPersistent() {
            return isLoaded && log != null && pending.length() == 0;
        }

        int size() {
            return entries.size();
        }

        /** Returns whether an event up to this number is queued. */
        boolean hasThrough(long number) {
            return !entries.isEmpty() && entries.peek().number <= number;
        }

        void add(String text) {
            put(text);
            append("+" + text, true);
            dropSurplus();
        }

        private void put(String text) {
            Entry entry = new Entry(next++, text);
            entries.add(entry);
            size += entry.size;
        }

        private void take() {
            size -= entries.remove().size;
        }

        /** Removes the events up to this number, which settle has stored. */
        void removeThrough(long number) {
            int count = 0;
            while (hasThrough(number)) {
                take();
                count += 1;
            }
            // settle stores an event once even if it is sent again after a crash, so this does not wait for the disk.
            removed('-', count, false);
        }

        private void dropSurplus() {
            int surplus = 0;
            while (entries.size() > limit || size > MAX_QUEUED_BYTES) {
                take();
                surplus += 1;
            }
            dropped += surplus;
            removed('!', surplus, true);
        }

        private void removed(char kind, int count, boolean isSynced) {
            if (count == 0 || !isLoaded) {
                return;
            }
            boolean isLong = length > 2 * size + MIN_LOG_BYTES;
            if (!isLong || !rewrite()) {
                append(kind + Integer.toString(count), isSynced);
            }
            if (entries.isEmpty() && !isPersistent()) {
                clear();
            }
        }

        /** Returns the oldest events that fit into one batch. */
        List<Entry> batch(int maxEvents, int room) {
            List<Entry> batch = new ArrayList<>();
            int left = room;
            for (Entry entry : entries) {
                left -= entry.size + 1;
                if (batch.size() == maxEvents || left < 0) {
                    break;
                }
                batch.add(entry);
            }
            return batch;
        }

        /** Appends a line, after the earlier lines that could not be written. */
        private void append(String line, boolean isSynced) {
            if (!isLoaded) {
                return;
            }
            pending.append(line).append('\n');
            if (pending.length() > MAX_QUEUED_BYTES) {
                close();
            }
            if (log == null) {
                pending.setLength(0);
                rewrite();
                return;
            }
            byte[] bytes = bytes(pending.toString());
            // Earlier lines may add events, so they are synced.
            boolean isAlone = pending.length() == line.length() + 1;
            try {
                log.write(bytes);
                if (isSynced || !isAlone) {
                    log.getFD().sync();
                }
                length += bytes.length;
                pending.setLength(0);
            } catch (IOException failure) {
                files.failed(failure);
                cut(length);
            }
        }

        /** Truncates the log, which needs no disk space. */
        private void cut(long whole) {
            try {
                log.setLength(whole);
                log.seek(whole);
                length = whole;
            } catch (IOException failure) {
                close();
            }
        }

        /**
         * Replaces the log by an equivalent shortest one. Returns whether it succeeded; otherwise the log is unchanged.
         */
        private boolean rewrite() {
            StringBuilder lines = new StringBuilder("=").append(dropped).append('\n');
            for (Entry entry : entries) {
                lines.append('+').append(entry.text).append('\n');
            }
            if (!files.write(NAME, lines.toString())) {
                return false;
            }
            close();
            open();
            pending.setLength(0);
            return log != null;
        }

        /** Empties the log when the disk has no space for another line and no events are queued. */
        private void clear() {
            if (log == null) {
                return;
            }
            cut(0);
            pending.setLength(0);
            append("=" + dropped, false);
        }

        void close() {
            try {
                if (log != null) {
                    log.close();
                }
            } catch (IOException failure) {
                LOG.log(Level.FINE, "the queue", failure);
            }
            log = null;
        }
    }

    /** JSON (RFC 8259) as maps, lists, strings, doubles, booleans and null. */
    private static final class Json {
        private static final int MAX_DEPTH = 32;
        private final String text;
        private int at;

        private Json(String text) {
            this.text = text;
        }

        /** Returns the object in a text; null for any other value. */
        static Map<String, Object> object(String text) {
            if (text == null) {
                return null;
            }
            try {
                Json json = new Json(text);
                Object value = json.value(0);
                json.space();
                return json.at == text.length() ? asObject(value) : null;
            } catch (IllegalArgumentException | IndexOutOfBoundsException wrong) {
                return null;
            }
        }

        @SuppressWarnings("unchecked")
        static Map<String, Object> asObject(Object value) {
            return value instanceof Map ? (Map<String, Object>) value : null;
        }

        @SuppressWarnings("unchecked")
        static List<Object> asList(Object value) {
            return value instanceof List ? (List<Object>) value : null;
        }

        private void space() {
            while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
                at += 1;
            }
        }

        private char peek() {
            space();
            return text.charAt(at);
        }

        private void expect(char letter) {
            if (peek() != letter) {
                throw new IllegalArgumentException("expected " + letter + " at " + at);
            }
            at += 1;
        }

        private boolean takes(char letter) {
            boolean isNext = peek() == letter;
            at += isNext ? 1 : 0;
            return isNext;
        }

        private Object value(int depth) {
            if (depth > MAX_DEPTH) {
                throw new IllegalArgumentException("too deep");
            }
            switch (peek()) {
                case '{':
                    return members(depth + 1);
                case '[':
                    return items(depth + 1);
                case '"':
                    return string();
                case 't':
                    return literal("true", Boolean.TRUE);
                case 'f':
                    return literal("false", Boolean.FALSE);
                case 'n':
                    return literal("null", null);
                default:
                    return number();
            }
        }

        private Map<String, Object> members(int depth) {
            Map<String, Object> map = new LinkedHashMap<>();
            expect('{');
            if (takes('}')) {
                return map;
            }
            do {
                peek();
                String name = string();
                expect(':');
                map.put(name, value(depth));
            } while (takes(','));
            expect('}');
            return map;
        }

        private List<Object> items(int depth) {
            List<Object> list = new ArrayList<>();
            expect('[');
            if (takes(']')) {
                return list;
            }
            do {
                list.add(value(depth));
            } while (takes(','));
            expect(']');
            return list;
        }

        private Object literal(String name, Object value) {
            if (!text.startsWith(name, at)) {
                throw new IllegalArgumentException("expected " + name + " at " + at);
            }
            at += name.length();
            return value;
        }

        private Object number() {
            int from = at;
            while (at < text.length() && "+-.0123456789eE".indexOf(text.charAt(at)) >= 0) {
                at += 1;
            }
            return Double.valueOf(text.substring(from, at));
        }

        private String string() {
            StringBuilder all = new StringBuilder();
            expect('"');
            for (char letter = text.charAt(at++); letter != '"'; letter = text.charAt(at++)) {
                if (letter == '\\') {
                    letter = escaped(text.charAt(at++));
                }
                all.append(letter);
            }
            return all.toString();
        }

        private char escaped(char letter) {
            int place = "\"\\/bfnrt".indexOf(letter);
            if (place >= 0) {
                return "\"\\/\b\f\n\r\t".charAt(place);
            }
            if (letter != 'u') {
                throw new IllegalArgumentException("an unknown escape at " + at);
            }
            at += 4;
            return (char) Integer.parseInt(text.substring(at - 4, at), 16);
        }

        static String text(Object value) {
            StringBuilder all = new StringBuilder();
            write(all, value);
            return all.toString();
        }

        private static void write(StringBuilder all, Object value) {
            if (value instanceof Map) {
                String comma = "{";
                for (Map.Entry<String, Object> member : asObject(value).entrySet()) {
                    write(all.append(comma), member.getKey());
                    write(all.append(':'), member.getValue());
                    comma = ",";
                }
                all.append(comma.equals("{") ? "{}" : "}");
            } else if (value instanceof List) {
                String comma = "[";
                for (Object item : asList(value)) {
                    write(all.append(comma), item);
                    comma = ",";
                }
                all.append(comma.equals("[") ? "[]" : "]");
            } else if (value instanceof String) {
                quote(all, (String) value);
            } else {
                all.append(value);
            }
        }

        private static void quote(StringBuilder all, String text) {
            all.append('"');
            for (char letter : text.toCharArray()) {
                if (letter == '"' || letter == '\\') {
                    all.append('\\').append(letter);
                } else if (letter < ' ') {
                    all.append(String.format(Locale.US, "\\u%04x", (int) letter));
                } else {
                    all.append(letter);
                }
            }
            all.append('"');
        }
    }
}
