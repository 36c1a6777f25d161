import java.io.File;
import java.io.FileDescriptor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import org.apache.bookkeeper.bookie.BookieFileChannel;
import org.apache.bookkeeper.bookie.DefaultFileChannelProvider;
import org.apache.bookkeeper.conf.ServerConfiguration;

/**
 * Files of BookKeeper's journal which have all their room on the disk from the beginning.
 *
 * <p>On a disk that fills up, a part of an entry would be the last thing written, and be read as a whole one by the next
 * process, which then cannot open its ledger. So the disk can only be full when a file begins.
 */
public final class LocalJournal extends DefaultFileChannelProvider {
    /** Beyond the size at which the next file begins (MiB): what is written at a time. */
    private static final int MORE = 8;

    private static final int MIB = 1 << 20;

    @Override
    public BookieFileChannel open(File file, ServerConfiguration configuration) throws IOException {
        BookieFileChannel opened = super.open(file, configuration);
        return file.exists() ? opened : new Reserved(opened, configuration.getMaxJournalSizeMB() + MORE);
    }

    private static final class Reserved implements BookieFileChannel {
        private final BookieFileChannel inner;
        private long missing;

        Reserved(BookieFileChannel inner, long size) {
            this.inner = inner;
            this.missing = size;
        }

        @Override
        public synchronized FileChannel getFileChannel() throws IOException {
            FileChannel channel = inner.getFileChannel();
            if (missing > 0) {
                for (ByteBuffer zeros = ByteBuffer.allocate(MIB); missing > 0; missing--) {
                    for (zeros.clear(); zeros.hasRemaining(); ) {
                        channel.write(zeros);
                    }
                }
                channel.position(0);
            }
            return channel;
        }

        @Override
        public boolean fileExists(File file) {
            return inner.fileExists(file);
        }

        @Override
        public FileDescriptor getFD() throws IOException {
            return inner.getFD();
        }

        @Override
        public void close() throws IOException {
            inner.close();
        }
    }
}
