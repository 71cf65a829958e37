# Sourced by the scripts that run tests on builds with sanitizers. They set `compiler`.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
step() { printf '\n== %s\n' "$*"; }

# ThreadSanitizer needs its addresses free, which randomisation may take.
layout=()
if setarch -R true 2>/dev/null; then layout=(setarch -R); fi

# What has to be loaded before Python, which was not built with them. Without libstdc++,
# AddressSanitizer would not see the exceptions that C++ throws.
declare -A runtimes=([thread]="libtsan.so" [address,undefined]="libasan.so libstdc++.so")
libraries() {
  local name
  for name in ${runtimes[$1]}; do "$compiler" -print-file-name="$name"; done | paste -sd ' '
}

# available SANITIZERS: whether what this compiler makes with them runs
available() {
  echo 'int main() {}' > "$work/probe.cpp"
  "$compiler" "-fsanitize=$1" "$work/probe.cpp" -o "$work/probe" && "${layout[@]}" "$work/probe"
} 2>/dev/null

# sanitized SANITIZERS COMMAND...: runs a command on that build and shows its reports
sanitized() {
  local sanitizers=$1 reports=$work/report.$BASHPID status=0
  shift
  # Python's own leaks are none of ours, nor is how torch and Python order their threads.
  env ADACONV_SANITIZE="$sanitizers" \
    ASAN_OPTIONS="detect_leaks=0:log_path=$reports" \
    UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:log_path=$reports" \
    TSAN_OPTIONS="halt_on_error=1:ignore_noninstrumented_modules=1:log_path=$reports" \
    LD_PRELOAD="$(libraries "$sanitizers")" "${layout[@]}" "$@" || status=$?
  if compgen -G "$reports*" > /dev/null; then
    cat "$reports"*
    status=1
  fi
  return $status
}
