package load

import (
	"fmt"
	"os"
	"runtime"
)

// residentMB returns the resident memory of this process, in megabytes; where the system does not
// tell it, what the Go runtime has of the system.
func residentMB() float64 {
	var size, resident float64
	text, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(text), &size, &resident)
	}
	const mb = 1 << 20
	if err == nil {
		return resident * float64(os.Getpagesize()) / mb
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Sys) / mb
}
