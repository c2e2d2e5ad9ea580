package load

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

// watchMemory notes the highest resident memory of both halves of the load, until it is told to
// stop. A moment would not do: memory rises and falls by half with each garbage collection.
func (b *bench) watchMemory() (stop func()) {
	const every = 200 * time.Millisecond
	done, half := make(chan struct{}), time.Now().Add(b.o.Duration/2)
	var ended sync.WaitGroup
	ended.Go(func() {
		for {
			highest := &b.r.FirstRSS
			if time.Now().After(half) {
				highest = &b.r.RSS
			}
			*highest = max(*highest, residentMB())
			select {
			case <-done:
				return
			case <-time.After(every):
			}
		}
	})
	return func() {
		close(done)
		ended.Wait()
	}
}

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
