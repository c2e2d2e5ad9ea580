package data

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
	"github.com/tokencache/tokencache/internal/npz"
)

// holes writes to a file, but leaves a hole for each write of a whole piece, which is of zeros.
type holes struct {
	*os.File
	piece int
}

func (h holes) Write(b []byte) (int, error) {
	if len(b) == h.piece {
		_, err := h.Seek(int64(h.piece), io.SeekCurrent)
		return len(b), err
	}
	return h.File.Write(b)
}

// TestNPZLargerThanMemory checks that of an archive of 3 GiB, which takes no space on the disk, the
// last image is read in little memory.
func TestNPZLargerThanMemory(t *testing.T) {
	const piece, pieces = 1 << 20, 3 << 10
	path := filepath.Join(t.TempDir(), "large.npz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := fmt.Sprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 32, 32, 1), }", pieces*piece>>10)
	head := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(text)))
	head = append(head, text...)
	z := zip.NewWriter(holes{f, piece})
	size := uint64(len(head)) + pieces*piece
	w, err := z.CreateRaw(&zip.FileHeader{Name: "arr_0.npy", CompressedSize64: size, UncompressedSize64: size})
	if err != nil {
		t.Fatal(err)
	}
	// The zip writer buffers what is shorter than its buffer: so the head is on its way first.
	if _, err := w.Write(head); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, piece)
	for range pieces {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	bounded.Run(t, 0, func() {
		set, err := Open(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer set.Close()
		if set.Len() != pieces*piece>>10 {
			t.Errorf("%d images, want %d", set.Len(), pieces*piece>>10)
		}
		if m, err := set.Image(set.Len() - 1); err != nil || len(m.Pix) != 1<<10 {
			t.Errorf("the last image: %v", err)
		}
	})
}

// TestNPZWrittenInPieces checks that images are written without being in memory together.
func TestNPZWrittenInPieces(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 128 MiB")
	}
	image := make([]byte, 64*64)
	s := npz.Samples{
		Count:    32 << 10,
		Height:   64,
		Width:    64,
		Channels: 1,
		Image:    func(int) ([]byte, error) { return image, nil },
	}
	bounded.Run(t, 0, func() {
		if err := s.Write(filepath.Join(t.TempDir(), "written.npz")); err != nil {
			t.Fatal(err)
		}
	})
}
