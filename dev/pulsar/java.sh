# Sourced by the scripts that start a server of Pulsar: sets `java` and `java_options`, from `home` (of install.sh) and
# `folder` (where log4j2.xml is, and the log goes).
# shellcheck shell=bash disable=SC2034,SC2154
java="${JAVA_HOME:+$JAVA_HOME/bin/}java"

# The class archive of install.sh. Java ignores an archive that it cannot use.
java_options=()
if [ -s "$home/classes.jsa" ]; then
  java_options=(-XX:SharedArchiveFile="$home/classes.jsa" -Xlog:cds=off -Xlog:cds+dynamic=off)
fi

# The opened modules are those of Pulsar's own script.
java_options+=(
  -XX:+UseG1GC -XX:+PerfDisableSharedMem
  -XX:+ExitOnOutOfMemoryError -Dpulsar.allocator.exit_on_oom=true
  -XX:ErrorFile="$folder/log/java-error.log"
  -Djava.net.preferIPv4Stack=true
  -Dio.netty.tryReflectionSetAccessible=true -Dio.netty.recycler.maxCapacityPerThread=4096
  --add-opens java.base/java.io=ALL-UNNAMED
  --add-opens java.base/java.nio=ALL-UNNAMED
  --add-opens java.base/java.util.zip=ALL-UNNAMED
  --add-opens java.base/jdk.internal.misc=ALL-UNNAMED
  --add-opens java.base/jdk.internal.platform=ALL-UNNAMED
  --add-opens java.management/sun.management=ALL-UNNAMED
  --add-opens jdk.management/com.sun.management.internal=ALL-UNNAMED
  -Dlog4j.configurationFile="$folder/log4j2.xml" -Dlog4j.shutdownHookEnabled=false -Dlog4j2.is.webapp=false
  -Dpulsar.log.dir="$folder/log" -Djava.util.logging.config.file=/dev/null
)
