//go:build !linux && !darwin && !freebsd

package atomicfile

import "os"

const noFollow = 0 // OpenRegular looks before it opens

func lock(*os.File) {}

func inUse(string) bool { return false } // a file that is open cannot be removed, or is not told from others

func freeSpace(string) (bytes int64, ok bool) { return 0, false }
