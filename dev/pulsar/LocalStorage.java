import java.io.IOException;
import org.apache.bookkeeper.bookie.CheckpointSource.Checkpoint;
import org.apache.bookkeeper.bookie.storage.ldb.DbLedgerStorage;

/**
 * BookKeeper's storage, which ends the process when it cannot write what only the journal holds otherwise.
 *
 * <p>What DbLedgerStorage could not write, since the disk is full, it forgets: the next time it has nothing to write, and
 * says that the journal need not be read from before. So there must be no next time. The next process reads the journal.
 */
public final class LocalStorage extends DbLedgerStorage {
    private interface Write {
        void run() throws IOException;
    }

    @Override
    public void flush() throws IOException {
        orEnd(super::flush);
    }

    @Override
    public void checkpoint(Checkpoint checkpoint) throws IOException {
        orEnd(() -> super.checkpoint(checkpoint));
    }

    private static void orEnd(Write write) throws IOException {
        try {
            write.run();
        } catch (IOException | RuntimeException error) {
            LocalPulsar.endForWantOfStorage(error.toString());
            throw error;
        }
    }
}
