//go:build !unix

package bounded

import "time"

var begin = time.Now()

// processorTime returns wall-clock time where the system's processor time is not at hand.
func processorTime() time.Duration { return time.Since(begin) }
