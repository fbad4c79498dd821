import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.FutureTask;
import settle.SettleClient;
import settle.SettleClient.Entitlement;
import settle.SettleClient.Entitlements;
import settle.SettleClient.FieldError;
import settle.SettleClient.Impression;
import settle.SettleClient.Login;
import settle.SettleClient.Options;
import settle.SettleClient.Receipt;
import settle.SettleClient.Rejected;
import settle.SettleClient.RequestError;
import settle.SettleClient.State;
import settle.SettleClient.Transaction;

/**
 * A test app with the client: {@code App URL KEY FOLDER MAX_QUEUED [RECEIPT…]}. Executes the lines of the standard
 * input in order and answers each with one line of JSON.
 */
public final class App {
    private static volatile long clockError;
    /** The command that another thread executes. */
    private static FutureTask<String> meanwhile;
    private static final List<String> REJECTED = Collections.synchronizedList(new ArrayList<String>());
    private static final List<String> ERRORS = Collections.synchronizedList(new ArrayList<String>());

    private App() {}

    public static void main(String[] line) throws Exception {
        Options options = new Options(line[0], line[1], "1.0.0", new File(line[2]))
                .os("fireos", "8")
                .maxQueued(Integer.parseInt(line[3]))
                .requestTimeout(Integer.getInteger("requestTimeout", 30_000))
                .clock(() -> System.currentTimeMillis() + clockError)
                .receipts(() -> receipts(line))
                .listener(new Notices());
        SettleClient started;
        try {
            started = SettleClient.start(options);
        } catch (IllegalStateException refused) {
            System.out.println(quoted("refused"));
            return;
        }
        try (SettleClient client = started) {
            System.out.println(quoted("started"));
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String command = in.readLine(); command != null; command = in.readLine()) {
                System.out.println(answer(client, command.split(" ")));
            }
        }
    }

    private static List<Receipt> receipts(String[] line) {
        List<Receipt> all = new ArrayList<>();
        for (String id : Arrays.asList(line).subList(4, line.length)) {
            all.add(new Receipt(id, "STORE_USER"));
        }
        return all;
    }

    private static String answer(SettleClient client, String[] part) throws Exception {
        try {
            return carriedOut(client, part);
        } catch (RequestError error) {
            return "{\"status\":" + error.status + ",\"retry_after\":" + error.retryAfter + "}";
        }
    }

    private static String carriedOut(SettleClient client, String[] part) throws Exception {
        switch (part[0]) {
            case "meanwhile":
                meanwhile = new FutureTask<>(() -> answer(client, Arrays.copyOfRange(part, 1, part.length)));
                new Thread(meanwhile).start();
                return "null";
            case "joined":
                return meanwhile.get();
            case "foreground":
                client.foreground();
                return "null";
            case "background":
                client.background();
                return "null";
            case "end":
                client.endSession();
                return "null";
            case "clock":
                clockError = Long.parseLong(part[1]);
                return "null";
            case "impression":
                Impression impression = new Impression(part[1]);
                return quoted(client.impression(impression.product("com.example.monthly", "9.99", "USD", null)));
            case "impressions":
                String placement = part.length > 2 ? String.format("%0" + part[2] + "d", 0) : "onboarding";
                for (int number = 0; number < Integer.parseInt(part[1]); number += 1) {
                    client.impression(new Impression("p" + number).placement(placement));
                }
                return "null";
            case "threads":
                return threads(client, Integer.parseInt(part[1]), Integer.parseInt(part[2]));
            case "purchase":
                Transaction transaction = Transaction.purchased(part[1], "STORE_USER", "com.example.monthly");
                transaction.price("9.99", part[2]).marketplace("US").impression(part[3]);
                return quoted(client.transaction(transaction));
            case "flush":
                client.flush();
                return "null";
            case "login":
                return shown(client.login(part[1], part.length > 2 ? part[2] : null));
            case "logout":
                return quoted(client.logout());
            case "entitlements":
                return shown(client.entitlements());
            case "state":
                return shown(client.state());
            case "rejected":
                return REJECTED.toString();
            case "errors":
                return ERRORS.toString();
            case "close":
                client.close();
                return "null";
            case "twice":
                return secondStart(part[1]);
            default:
                throw new IllegalArgumentException(part[0]);
        }
    }

    /** Reports paywalls on several threads, which also flush regularly, and waits for all threads. */
    private static String threads(SettleClient client, int number, int paywalls) throws InterruptedException {
        List<Thread> all = new ArrayList<>();
        for (int thread = 0; thread < number; thread += 1) {
            String name = "t" + thread + "-";
            all.add(new Thread(() -> {
                for (int paywall = 0; paywall < paywalls; paywall += 1) {
                    client.impression(new Impression(name + paywall));
                    if (paywall % 10 == 9) {
                        client.flush();
                    }
                }
            }));
        }
        for (Thread one : all) {
            one.start();
        }
        for (Thread one : all) {
            one.join();
        }
        return "null";
    }

    private static String secondStart(String folder) {
        try {
            SettleClient.start(new Options("http://127.0.0.1:9", "pk_test", "1.0.0", new File(folder))).close();
            return quoted("started");
        } catch (IllegalStateException refused) {
            return quoted("refused");
        }
    }

    private static final class Notices implements SettleClient.Listener {
        @Override
        public void onRejected(Rejected rejected) {
            for (FieldError error : rejected.errors) {
                REJECTED.add("{\"id\":" + quoted(rejected.eventId) + ",\"field\":" + quoted(error.field) + "}");
            }
        }

        @Override
        public void onError(RequestError error) {
            ERRORS.add(Integer.toString(error.status));
        }
    }

    private static String shown(Login login) {
        return "{\"device_user_id\":" + quoted(login.deviceUserId) + ",\"external_id\":" + quoted(login.externalId)
                + "}";
    }

    private static String shown(Entitlements entitlements) {
        List<String> all = new ArrayList<>();
        for (Entitlement one : entitlements.entitlements) {
            all.add("{\"entitlement_ref_id\":" + quoted(one.entitlementRefId) + ",\"name\":" + quoted(one.name)
                    + ",\"expiration\":" + quoted(one.expiration) + ",\"sku_ref_id\":" + quoted(one.skuRefId)
                    + ",\"purchase_platform\":" + quoted(one.purchasePlatform) + "}");
        }
        return "{\"device_user_id\":" + quoted(entitlements.deviceUserId) + ",\"entitlements\":" + all
                + ",\"is_current\":" + entitlements.isCurrent + "}";
    }

    private static String shown(State state) {
        return "{\"device_id\":" + quoted(state.deviceId) + ",\"session_id\":" + quoted(state.sessionId)
                + ",\"queued\":" + state.queued + ",\"dropped\":" + state.dropped + ",\"is_persistent\":"
                + state.isPersistent + "}";
    }

    private static String quoted(String text) {
        return text == null ? "null" : "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\"";
    }
}
