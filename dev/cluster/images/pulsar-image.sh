# Builds an image of Pulsar without a container engine; sourced by build.sh. The layers are Java from Debian's packages
# and the Pulsar of `make pulsar`, with the command line of Apache's image.

process=(
  --user 10000:0 --workdir /pulsar
  --env PATH=/pulsar/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  --label org.opencontainers.image.title=pulsar --label org.opencontainers.image.version="$tag"
  --label org.opencontainers.image.licenses=Apache-2.0
)

# Prints the folder of Java, of a shell, and of curl, which the chart's probe needs. Each release of Debian has one of
# these versions.
java_layer() {
  local jre
  for jre in openjdk-17-jre-headless openjdk-21-jre-headless; do
    [ -z "$(apt-cache show --no-all-versions "$jre" 2>/dev/null)" ] || break
  done
  "$here/images/debian.sh" java "$jre" busybox curl ca-certificates netbase tzdata
}

# Prints the layers of the image.
layers() {
  local java home layer="$part/pulsar"
  java="$(java_layer)"
  home="$("$root/dev/pulsar/install.sh")"
  mkdir -p "$layer/pulsar"/{bin,conf,data,logs} "$layer/usr/local/bin"
  chmod 1777 "$layer/pulsar"/{data,logs} # where no volume is mounted
  cp -r "$home"/{lib,LICENSE,NOTICE} "$layer/pulsar"
  cp "$root/dev/pulsar/image/pulsar" "$layer/pulsar/bin"
  cp "$root/dev/pulsar/image/log4j2.xml" "$layer/pulsar/conf"
  "$root/dev/pulsar/merge.sh" "$root"/{helm/skymap-scanner/files/standalone.conf,dev/pulsar/local.conf} \
    >"$layer/pulsar/conf/standalone.conf"
  ln -s "/$(cd "$java" && echo usr/lib/jvm/java-[0-9][0-9]-openjdk-*/bin/java)" "$layer/usr/local/bin/java"
  printf '%s\n' "$java" "$layer"
}
