package data

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
)

// FuzzOpen opens data whose only file, of a name that decides what it is taken for, is any file, and
// reads its first image.
func FuzzOpen(f *testing.F) {
	names := []string{
		"set.npz", "a/0.png", "0.jpg", "a/0.bmp", "a/0.tif", "a/0.ppm", "a/0.webp", "a/0.gif",
		"train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz", "data_batch_1.bin", "batches.meta", "000000.png",
		CaptionsFile,
	}
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		f.Fatal(err)
	}
	for i := range names {
		f.Add(uint8(i), b.Bytes())
	}
	f.Add(uint8(8), idxFile(gradient(8, 0), 2, 2, 2))
	f.Add(uint8(10), cifar10Record(1, 0))
	f.Add(uint8(11), []byte("\x80\x02}q\x00X\x04\x00\x00\x00dataq\x01K\x01s."))
	f.Add(uint8(13), []byte(`{"file":"captions.jsonl","captions":["itself"]}`))
	f.Fuzz(func(t *testing.T, which uint8, file []byte) {
		name := names[int(which)%len(names)]
		root := t.TempDir()
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file, 0o666); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".npz") {
			root = path
		}
		bounded.Run(t, len(file), func() {
			set, err := Open(t.Context(), root, Options{Split: "all", Channels: 3})
			if err != nil {
				return
			}
			defer set.Close()
			if set.Len() == 0 || len(set.Labels) != set.Len() {
				t.Errorf("%d images with %d labels", set.Len(), len(set.Labels))
			}
			_, _ = set.Image(0)
		})
	})
}
