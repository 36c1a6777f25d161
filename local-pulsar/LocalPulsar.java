import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.PulsarStandaloneStarter;
import org.apache.pulsar.metadata.api.MetadataStore;
import org.apache.pulsar.metadata.api.MetadataStoreConfig;
import org.apache.pulsar.metadata.api.MetadataStoreFactory;

/**
 * Pulsar standalone that starts again after any death: {@code LocalPulsar METADATA-FOLDER ARGUMENT...}.
 * With the property {@code rehearsal} it ends as soon as it is ready.
 *
 * <p>The broker and the bookie register themselves as ephemeral nodes of the RocksDB metadata. Nothing removes those of
 * a killed process, since there is no server to notice its death: the store drops such a node only when somebody looks
 * at it. The next broker may then meet its predecessor's registration at a bad moment, lose its own lock on it, and try
 * for ever to get it back. So every node is looked at once before Pulsar starts.
 */
public final class LocalPulsar {
    private static final int LOOK_SECONDS = 30;

    private LocalPulsar() {}

    public static void main(String[] arguments) throws Exception {
        Path metadata = Path.of(arguments[0]);
        if (Files.isDirectory(metadata)) {
            dropDeadRegistrations(metadata);
        }
        PulsarStandaloneStarter.main(Arrays.copyOfRange(arguments, 1, arguments.length));
        System.out.println("Pulsar is ready.");
        if (Boolean.getBoolean("rehearsal")) {
            System.exit(0);
        }
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
