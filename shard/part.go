package shard

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/tokencache/tokencache/eval"
	"github.com/tokencache/tokencache/internal/npz"
	"github.com/tokencache/tokencache/internal/raster"
)

// Part describes a part: the images of a span of a run.
type Part struct {
	Run  Run
	Span Span
	// Height, Width and Channels are of every image.
	Height, Width, Channels int
	Classes                 []int64          // of the span's images
	Names                   map[int64]string // of these classes, where they have names
	Texts                   []raster.Text    // the run's settings, in the order of a PNG file
	Found                   [][]raster.Text  // of each image, what only generating it showed; nil if nothing
	// Outputs are what a feature network says of the images, for evaluations; nil if that is not
	// known.
	Outputs *eval.Part
}

// Name is the name of the part's file: a hash of the run and of the span.
func (p *Part) Name() string {
	text, _ := json.Marshal([]any{p.Run.Identity, p.Run.Images, p.Run.Classes, p.Run.Labels, p.Span}) // cannot fail
	sum := sha256.Sum256(text)
	return "part-" + hex.EncodeToString(sum[:16]) + ".npz"
}

// partName matches the names of parts.
var partName = regexp.MustCompile(`^part-[0-9a-f]{32}\.npz$`)

// IsName reports whether name is one that parts have.
func IsName(name string) bool { return partName.MatchString(name) }

// about is the text about.json of a part's file.
type about struct {
	Run
	Part aboutPart `json:"part"`
}

type aboutPart struct {
	Span
	SHA256 string           `json:"sha256"` // of pixels and classes
	Names  map[int64]string `json:"class_names,omitempty"`
	Texts  []raster.Text    `json:"texts"`
	Found  [][]raster.Text  `json:"found,omitempty"`
}

// The arrays of images and of their classes.
const (
	imagesArray  = "arr_0"
	classesArray = "arr_1"
)

// maxClass bounds the numbers of classes.
const maxClass = 1 << 20

// Write creates or replaces the part's file in the folder dir, whole or not at all. image returns
// the pixels of image First+i, [Height, Width, Channels]; it is called in order.
func (p *Part) Write(dir string, image func(i int) ([]byte, error)) error {
	return npz.Write(filepath.Join(dir, p.Name()), func(w *npz.Writer) error {
		n := p.Span.Len()
		images, err := npz.Stream[uint8](w, imagesArray, n, p.Height, p.Width, p.Channels)
		if err != nil {
			return err
		}
		sum := sha256.New()
		for i := range n {
			pixels, err := image(i)
			if err != nil {
				return fmt.Errorf("image %d: %w", p.Span.First+i, err)
			}
			if want := p.Height * p.Width * p.Channels; len(pixels) != want {
				return fmt.Errorf("image %d: %d bytes, want %d", p.Span.First+i, len(pixels), want)
			}
			sum.Write(pixels)
			if err := images.Append(pixels); err != nil {
				return err
			}
		}
		sumClasses(sum, p.Classes)
		if err := npz.Put(w, classesArray, p.Classes, n); err != nil {
			return err
		}
		if p.Outputs != nil {
			if err := p.Outputs.Put(w); err != nil {
				return err
			}
		}
		text, err := json.MarshalIndent(about{p.Run, aboutPart{
			Span:   p.Span,
			SHA256: hex.EncodeToString(sum.Sum(nil)),
			Names:  p.Names,
			Texts:  p.Texts,
			Found:  p.Found,
		}}, "", " ")
		if err != nil {
			return err
		}
		return w.About(append(text, '\n'))
	})
}

func sumClasses(sum hash.Hash, classes []int64) {
	b := new(bytes.Buffer)
	_ = binary.Write(b, binary.LittleEndian, classes) // to memory
	sum.Write(b.Bytes())
}

// File is a part's file, open for reading.
type File struct {
	Part // without Outputs
	Path string

	archive *npz.Archive
	sum     string
	pixels  *npz.Array
}

// Open opens the part's file at path. It checks what describes the images, not their pixels.
func Open(path string) (*File, error) {
	a, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{Path: path, archive: a}
	if err := f.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("part %s: %w", path, err), a.Close())
	}
	return f, nil
}

func (f *File) read() error {
	text, err := f.archive.About()
	if err != nil {
		return err
	}
	var of about
	if err := json.Unmarshal(text, &of); err != nil {
		return fmt.Errorf("%s: %w", npz.AboutFile, err)
	}
	f.Run, f.Span, f.sum = of.Run, of.Part.Span, of.Part.SHA256
	f.Names, f.Texts, f.Found = of.Part.Names, of.Part.Texts, of.Part.Found
	if f.Span.First < 0 || f.Span.Len() < 1 || f.Span.End > f.Run.Images {
		return fmt.Errorf("images %d to %d of %d: not a part of a run", f.Span.First, f.Span.End-1, f.Run.Images)
	}
	if f.Found != nil && len(f.Found) != f.Span.Len() {
		return fmt.Errorf("findings of %d images, want %d", len(f.Found), f.Span.Len())
	}
	if f.pixels, err = f.archive.Array(imagesArray); err != nil {
		return err
	}
	shape := f.pixels.Shape
	if len(shape) != 4 || shape[0] != f.Span.Len() || f.pixels.RowLen() < 1 {
		return fmt.Errorf("array %s: shape %v, want [%d height width channels]", imagesArray, shape, f.Span.Len())
	}
	f.Height, f.Width, f.Channels = shape[1], shape[2], shape[3]
	classes, err := f.archive.Array(classesArray)
	if err != nil {
		return err
	}
	if classes.Len() != f.Span.Len() {
		return fmt.Errorf("array %s: %d classes, want %d", classesArray, classes.Len(), f.Span.Len())
	}
	if f.Classes, err = npz.Read[int64](classes); err != nil {
		return err
	}
	for _, class := range f.Classes {
		if class < 0 || class > maxClass {
			return fmt.Errorf("array %s: class %d, want 0 to %d", classesArray, class, maxClass)
		}
	}
	for class := range f.Names {
		if !slices.Contains(f.Classes, class) {
			return fmt.Errorf("class %d has a name and no image", class)
		}
	}
	if got, want := filepath.Base(f.Path), f.Name(); got != want {
		return fmt.Errorf("its name is not that of what it holds, %s", want)
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error { return f.archive.Close() }

// Images calls take with the pixels of every image of the part, in order; they are valid during
// the call. After the last it checks the checksum.
func (f *File) Images(take func(i int, pixels []byte) error) error {
	err := f.images(take)
	if err != nil {
		return fmt.Errorf("part %s: %w", f.Path, err)
	}
	return nil
}

func (f *File) images(take func(i int, pixels []byte) error) error {
	rows, err := f.pixels.Rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	sum := sha256.New()
	pixels := make([]byte, f.pixels.RowLen())
	for i := f.Span.First; ; i++ {
		if _, err := npz.Next(rows, pixels); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		sum.Write(pixels)
		if err := take(i, pixels); err != nil {
			return err
		}
	}
	sumClasses(sum, f.Classes)
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.sum {
		return fmt.Errorf("it is damaged: its SHA-256 is %s, want %s", got, f.sum)
	}
	return nil
}

// Image returns the pixels of image i of the run. They are not compared with the checksum.
func (f *File) Image(i int) ([]byte, error) {
	rows, err := f.pixels.Rows()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if err := rows.Seek(i - f.Span.First); err != nil {
		return nil, err
	}
	pixels := make([]byte, f.pixels.RowLen())
	_, err = npz.Next(rows, pixels)
	return pixels, err
}

// Verify reads the part's file at path whole and reports what is wrong with it.
func Verify(path string) error {
	f, err := Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Images(func(int, []byte) error { return nil })
}

// ReadOutputs returns what a feature network says of the images; nil if the part does not have it.
func (f *File) ReadOutputs() (*eval.Part, error) {
	p, err := eval.ReadPart(f.archive, f.Span.First, f.Span.Len(), f.Run.Images)
	if err != nil {
		return nil, fmt.Errorf("part %s: %w", f.Path, err)
	}
	return p, nil
}

// OutputsOf is the identity of the network that the part has outputs of; "" if it has none.
func (f *File) OutputsOf() string { return eval.PartNetwork(f.archive) }
