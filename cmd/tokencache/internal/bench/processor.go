package bench

import (
	"os"
	"runtime"
	"strings"
)

// Processor returns the name of this machine's processor, or of its architecture where the system
// does not tell.
func Processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for _, line := range strings.Split(string(b), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
