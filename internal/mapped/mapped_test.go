package mapped

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"
)

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(path)
	if err != nil || string(b) != "content" || uintptr(unsafe.Pointer(&b[0]))%4096 != 0 {
		t.Errorf("%q at %p, error %v", b, b, err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{empty, t.TempDir(), path + ".missing"} {
		if _, err := Open(bad); err == nil {
			t.Errorf("%s was mapped", bad)
		}
	}
}
