//go:build !linux && !darwin && !freebsd

package atomicfile

const noFollow = 0 // OpenRegular looks before it opens

func freeSpace(string) (bytes int64, ok bool) { return 0, false }
