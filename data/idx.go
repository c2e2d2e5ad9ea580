package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/internal/regularfile"
)

const (
	gzipMagic = "\x1f\x8b"
	idxMagic  = "\x00\x00\x08" // two zeros, then the type: unsigned bytes; the number of dimensions follows
)

var (
	digitNames   = []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
	fashionNames = []string{
		"t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
	}
)

// idxPair is the files of a split, by name.
type idxPair struct{ split, images, labels string }

// findIDX returns the splits whose images are among the files there, train first. A missing file of
// labels is named as it should be.
func findIDX(there map[string]bool) []idxPair {
	var pairs []idxPair
	for _, split := range []struct{ name, prefix string }{{"train", "train"}, {"test", "t10k"}} {
		find := func(what, dims string) (name string, ok bool) {
			for _, ending := range []string{"", ".gz"} {
				for _, mark := range []string{"-", "."} {
					name = split.prefix + "-" + what + mark + dims + "-ubyte" + ending
					if there[name] {
						return name, true
					}
				}
			}
			return split.prefix + "-" + what + "-" + dims + "-ubyte", false
		}
		images, hasImages := find("images", "idx3")
		labels, hasLabels := find("labels", "idx1")
		if hasImages || hasLabels {
			pairs = append(pairs, idxPair{split.name, images, labels})
		}
	}
	return pairs
}

// openIDX opens the pairs of files in a folder that the split takes.
func openIDX(dir string, pairs []idxPair, o Options) (*Set, error) {
	var wanted []idxPair
	for _, p := range pairs {
		if o.wants(p.split) {
			wanted = append(wanted, p)
		}
	}
	if len(wanted) == 0 {
		return nil, fmt.Errorf("IDX files of the split %s only", pairs[0].split)
	}
	images := &memory{}
	s := &Set{Kind: "IDX", images: images, Classes: idxClasses(dir)}
	for _, p := range wanted {
		part, labels, err := readIDXPair(filepath.Join(dir, p.images), filepath.Join(dir, p.labels), len(s.Classes))
		if err == nil {
			err = images.add(part)
		}
		if err != nil {
			if err := o.broken(p.images, err); err != nil {
				return nil, err
			}
			continue
		}
		s.Labels = append(s.Labels, labels...)
	}
	return s, s.settle(o, images.height, images.width, 1)
}

// openIDXFile opens one file of images; the labels are next to it.
func openIDXFile(path string, o Options) (*Set, error) {
	dir, base := filepath.Split(path)
	name := strings.NewReplacer("images", "labels", "idx3", "idx1").Replace(base)
	if name == base {
		return nil, errors.New("the file of its labels cannot be told: want a name with images and idx3, " +
			"such as train-images-idx3-ubyte")
	}
	stem := strings.TrimSuffix(name, ".gz")
	labels := filepath.Join(dir, name)
	for _, other := range []string{stem, stem + ".gz"} {
		if _, err := os.Stat(labels); err == nil {
			break
		}
		labels = filepath.Join(dir, other)
	}
	s := &Set{Kind: "IDX", Classes: idxClasses(filepath.Dir(path))}
	images, numbers, err := readIDXPair(path, labels, len(s.Classes))
	if err != nil {
		return nil, err
	}
	s.images, s.Labels = images, numbers
	return s, s.settle(o, images.height, images.width, 1)
}

// idxClasses are the names of the classes, which the files do not hold: Fashion-MNIST's if the
// folder says fashion, else digits.
func idxClasses(dir string) []string {
	if whole, err := filepath.Abs(dir); err == nil {
		dir = whole
	}
	if strings.Contains(strings.ToLower(filepath.Base(dir)), "fashion") {
		return slices.Clone(fashionNames)
	}
	return slices.Clone(digitNames)
}

// readIDXPair reads images and their labels, each less than classes.
func readIDXPair(imagesPath, labelsPath string, classes int) (*memory, []int32, error) {
	shape, pix, err := readIDXFile(imagesPath, 3)
	if err != nil {
		return nil, nil, err
	}
	_, numbers, err := readIDXFile(labelsPath, 1)
	if err != nil {
		return nil, nil, err
	}
	labels, err := idxLabels(numbers, shape[0], classes)
	if err != nil {
		return nil, nil, &BrokenError{File: filepath.Base(labelsPath), Err: err}
	}
	return &memory{height: shape[1], width: shape[2], channels: 1, pix: pix}, labels, nil
}

func idxLabels(numbers []byte, images, classes int) ([]int32, error) {
	if len(numbers) != images {
		return nil, fmt.Errorf("%d labels for %d images", len(numbers), images)
	}
	labels := make([]int32, len(numbers))
	for i, n := range numbers {
		if int(n) >= classes {
			return nil, fmt.Errorf("label %d of image %d: want 0 to %d", n, i, classes-1)
		}
		labels[i] = int32(n)
	}
	return labels, nil
}

// readIDXFile reads a whole file. Its error is a *BrokenError.
func readIDXFile(path string, dims int) (shape []int, elements []byte, err error) {
	f, size, err := regularfile.Open(path)
	if err == nil {
		defer f.Close()
		shape, elements, err = readIDX(f, size, dims)
	}
	if err != nil {
		return nil, nil, &BrokenError{File: filepath.Base(path), Err: cause(err)}
	}
	return shape, elements, nil
}

// readIDX reads an IDX file of size bytes, gzipped or not, which must hold unsigned bytes in dims
// dimensions, to its end.
func readIDX(file io.Reader, size int64, dims int) (shape []int, elements []byte, err error) {
	buffered := bufio.NewReader(file)
	r := io.Reader(buffered)
	start, _ := buffered.Peek(len(gzipMagic)) // what is not there is no mark
	zipped := string(start) == gzipMagic
	if zipped {
		if r, err = gzip.NewReader(buffered); err != nil {
			return nil, nil, fmt.Errorf("gzip: %w", noEOF(err))
		}
	}
	head := make([]byte, len(idxMagic)+1+4*dims)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, nil, fmt.Errorf("IDX header of %d bytes: %w", len(head), noEOF(err))
	}
	shape, total, err := idxShape(head, dims)
	if err != nil {
		return nil, nil, err
	}
	if rest := size - int64(len(head)); !zipped && total != rest {
		return nil, nil, fmt.Errorf("shape %v takes %d bytes, %d follow the header", shape, total, rest)
	}
	if zipped {
		if err := checkInflated(total, size); err != nil {
			return nil, nil, fmt.Errorf("shape %v: %w", shape, err)
		}
	}
	var all bytes.Buffer // grows with what comes, not with what the header says
	if !zipped {
		all.Grow(int(total) + bytes.MinRead)
	}
	if n, err := io.CopyN(&all, r, total); err != nil {
		return nil, nil, fmt.Errorf("shape %v takes %d bytes, found %d: %w", shape, total, n, noEOF(err))
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); { // here a gzip checksum shows that does not match
	case n > 0:
		return nil, nil, fmt.Errorf("shape %v takes %d bytes, more follow", shape, total)
	case err != nil && err != io.EOF:
		return nil, nil, noEOF(err)
	}
	return shape, all.Bytes(), nil
}

// idxShape reads a header and returns the sizes it gives, and their product.
func idxShape(head []byte, dims int) (shape []int, total int64, err error) {
	if !bytes.HasPrefix(head, []byte(idxMagic)) {
		return nil, 0, fmt.Errorf("not an IDX file of unsigned bytes: starts with % x, want % x", head[:4], idxMagic)
	}
	if got := int(head[len(idxMagic)]); got != dims {
		return nil, 0, fmt.Errorf("IDX of %d dimensions, want %d (images have 3, labels 1)", got, dims)
	}
	total = 1
	for d := range dims {
		n := binary.BigEndian.Uint32(head[len(idxMagic)+1+4*d:])
		if n == 0 || d > 0 && n > maxSize {
			return nil, 0, fmt.Errorf("IDX size %d of dimension %d: want 1 to %d", n, d, maxSize)
		}
		shape = append(shape, int(n))
		total *= int64(n) // below 2^60
	}
	return shape, total, nil
}

// noEOF makes the end of a file that should go on an error that says so.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
