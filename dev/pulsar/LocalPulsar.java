import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.PulsarStandaloneStarter;
import org.apache.pulsar.metadata.api.MetadataStore;
import org.apache.pulsar.metadata.api.MetadataStoreConfig;
import org.apache.pulsar.metadata.api.MetadataStoreFactory;
import sun.misc.Signal;

/**
 * Pulsar standalone that starts again after any death: {@code LocalPulsar METADATA-FOLDER ARGUMENT...}.
 * With the property {@code rehearsal} it ends as soon as it is ready; {@code pulsar.log.dir} is where the log is, if not
 * on standard output.
 *
 * <p>The broker and the bookie register themselves as ephemeral nodes of the RocksDB metadata. Nothing removes those of
 * a killed process, since there is no server to notice its death: the store drops such a node only when somebody looks
 * at it. The next broker may then meet its predecessor's registration at a bad moment, lose its own lock on it, and try
 * for ever to get it back. So every node is looked at once before Pulsar starts.
 *
 * <p>The bookie ends when its disk is full or fails, and a broker without a bookie answers but stores nothing, for ever.
 * So the process ends then, with 1, for whoever looks after it to start another, which goes on with what is stored.
 */
public final class LocalPulsar {
    private static final int LOOK_SECONDS = 30;

    /** Asked to end, by a signal: then whatever fails or ends is no error. */
    private static volatile boolean ending;

    private static volatile boolean ready;

    private LocalPulsar() {}

    public static void main(String[] arguments) throws Exception {
        for (String name : new String[] {"TERM", "INT"}) {
            Signal.handle(new Signal(name), signal -> {
                ending = true;
                silenceWatcher();
                System.exit(128 + signal.getNumber());
            });
        }
        String folder = System.getProperty("pulsar.log.dir");
        if (folder != null) { // else the log goes to standard output
            Path log = Path.of(folder, "pulsar.log");
            long earlier = Files.exists(log) ? Files.size(log) : 0;
            Runtime.getRuntime().addShutdownHook(new Thread(() -> explainFailedStart(log, earlier)));
        }
        try {
            start(arguments);
            endWithTheBookie();
        } catch (Exception error) {
            if (!ending) {
                System.err.println("pulsar: " + error);
                System.exit(1);
            }
        }
    }

    private static void start(String[] arguments) throws Exception {
        Path metadata = Path.of(arguments[0]);
        if (Files.isDirectory(metadata)) {
            dropDeadRegistrations(metadata);
        }
        PulsarStandaloneStarter.main(Arrays.copyOfRange(arguments, 1, arguments.length));
        ready = true;
        System.out.println("Pulsar is ready.");
        if (Boolean.getBoolean("rehearsal")) {
            System.exit(0);
        }
    }

    /** Pulsar writes why it does not start into its log alone: repeat the last error of this start. */
    private static void explainFailedStart(Path log, long earlier) {
        if (ready || ending) {
            return;
        }
        silenceWatcher();
        String error = "";
        Path file = log;
        try {
            file = log.toRealPath();
            byte[] content = Files.readAllBytes(log);
            int begin = content.length < earlier ? 0 : (int) earlier; // a new file may have been begun
            boolean below = false;
            for (String line : new String(content, begin, content.length - begin, StandardCharsets.UTF_8).split("\n")) {
                int level = line.indexOf(" ERROR ");
                if (level >= 0) {
                    error = line.substring(level + 7);
                } else if (line.startsWith("Caused by: ")) {
                    error = line.substring(11);
                } else if (below && !line.startsWith("20")) { // the exception below its message
                    error = line;
                }
                below = level >= 0;
            }
        } catch (IOException unreadable) {
            error = unreadable.toString();
        }
        System.err.println("pulsar: it did not start" + (error.isEmpty() ? "" : ": " + error));
        System.err.println("pulsar: the log is " + file);
    }

    /** BookKeeper has a thread that ends when its bookie does. */
    private static Optional<Thread> watcher() {
        return Thread.getAllStackTraces().keySet().stream()
                .filter(thread -> thread.getName().startsWith("BookieDeathWatcher"))
                .findAny();
    }

    /** At the end of the process it would start what runs already, and print the exception. */
    private static void silenceWatcher() {
        watcher().ifPresent(thread -> thread.setUncaughtExceptionHandler((ended, error) -> {}));
    }

    private static void endWithTheBookie() throws Exception {
        Optional<Thread> watcher = watcher();
        if (watcher.isPresent()) {
            watcher.get().join();
        }
        if (!ending) {
            endForWantOfStorage("the bookie has ended");
        }
    }

    /** At once: nothing is to be written any more. */
    static void endForWantOfStorage(String why) {
        System.err.println("Pulsar ends, since it cannot store: " + why + ". Is the disk full? Make room, and start it again.");
        Runtime.getRuntime().halt(1);
    }

    private static void dropDeadRegistrations(Path metadata) throws Exception {
        MetadataStoreConfig config = MetadataStoreConfig.builder().build();
        try (MetadataStore store = MetadataStoreFactory.create("rocksdb://" + metadata, config)) {
            lookBelow(store, "/");
        }
    }

    /** The cached reads would answer from memory: {@code getChildrenFromStore} and {@code get} reach the store. */
    private static void lookBelow(MetadataStore store, String folder) throws Exception {
        for (String name : store.getChildrenFromStore(folder).get(LOOK_SECONDS, TimeUnit.SECONDS)) {
            String node = folder.equals("/") ? "/" + name : folder + "/" + name;
            lookBelow(store, node);
            store.get(node).get(LOOK_SECONDS, TimeUnit.SECONDS);
        }
    }
}
