//go:build !unix

package mapped

import (
	"io"
	"os"
	"unsafe"
)

func content(f *os.File, size int) ([]byte, error) {
	const page = 4096
	b := make([]byte, size+page)
	b = b[page-int(uintptr(unsafe.Pointer(&b[0]))%page):][:size]
	_, err := io.ReadFull(f, b)
	return b, err
}
