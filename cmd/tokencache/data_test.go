package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tokencache/tokencache/internal/raster"
)

// digits DIR makes a folder of IDX files: 20 training images of 2x2 pixels, black and white in
// turn, with labels 0, 1, 2, 0, ...
func digits(ts *testscript.TestScript, _ bool, args []string) {
	images, labels := []byte{0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 2, 0, 0, 0, 2}, []byte{0, 0, 8, 1, 0, 0, 0, 20}
	for i := range 20 {
		images = append(images, bytes.Repeat([]byte{byte(255 * (i % 2))}, 4)...)
		labels = append(labels, byte(i%3))
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o777))
	for name, content := range map[string][]byte{"train-images-idx3-ubyte.gz": images, "train-labels-idx1-ubyte.gz": labels} {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, err := z.Write(content)
		ts.Check(err)
		ts.Check(z.Close())
		ts.Check(os.WriteFile(filepath.Join(dir, name), packed.Bytes(), 0o666))
	}
}

// blackPNG FILE SIDE makes a black square, and the folder that it is in.
func blackPNG(ts *testscript.TestScript, _ bool, args []string) {
	side, err := strconv.Atoi(args[1])
	ts.Check(err)
	m, err := raster.New(side, side, 3)
	ts.Check(err)
	path := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o777))
	ts.Check(raster.WritePNG(path, m))
}
