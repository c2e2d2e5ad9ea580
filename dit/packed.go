package dit

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/mapped"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/tensor"
)

// A packed file is a model as it lies in memory: it is mapped, not read, so that opening it takes
// no time and processes share its memory. It is for one layout of the kernels, hence for machines
// of like CPU level, and for inference. It is packedMagic; the length of the header, 8 bytes
// little-endian; the header, JSON; and the pieces of an nn.Recording in order, each from a multiple
// of packedAlign bytes on.
const (
	packedMagic   = "tcpacked"
	packedVersion = 1
	packedAlign   = 64
	maxPackedHead = 16 << 20
)

var errPacked = errors.New("the file is packed for inference, without the original weights")

// packedHeader says what a packed file is.
type packedHeader struct {
	Version     int
	DType       string
	Layout      string // see tensor.WeightLayout
	Fingerprint string
	Config      Config
	PosEmbed    bool
	Process     Process
	ClassNames  []string
	Assumed     string
	Pieces      []packedPiece
}

type packedPiece struct {
	Name  string
	Words int
}

// packedFile is an opened packed file.
type packedFile struct {
	dtype     tensor.DType
	recording nn.Recording
}

// WritePacked creates or replaces the packed file at path of the model in a number format, for the
// CPU level in use.
func (w *Weights) WritePacked(path string, d tensor.DType) error {
	if err := w.Unsupported(); err != nil {
		return w.failed(err)
	}
	if w.packed != nil {
		return w.failed(errPacked)
	}
	var r nn.Recording
	l := nn.NewLoader(w)
	l.SetDType(d)
	l.Record(&r)
	m, err := load(w.Config, l, w.posEmbed)
	if err != nil {
		return w.failed(err)
	}
	h := packedHeader{
		Version:     packedVersion,
		DType:       d.String(),
		Layout:      tensor.WeightLayout(d),
		Fingerprint: m.Fingerprint,
		Config:      w.Config,
		PosEmbed:    w.posEmbed,
		Process:     w.Process,
		ClassNames:  w.ClassNames,
		Assumed:     w.Assumed,
	}
	for _, p := range r.Pieces {
		h.Pieces = append(h.Pieces, packedPiece{p.Name, len(p.Words)})
	}
	head, err := json.Marshal(h)
	if err != nil {
		return err
	}
	start := append([]byte(packedMagic), binary.LittleEndian.AppendUint64(nil, uint64(len(head)))...)
	return atomicfile.Write(path, func(out io.Writer) error {
		if err := writeAligned(out, append(start, head...)); err != nil {
			return err
		}
		for _, p := range r.Pieces {
			if len(p.Words) == 0 {
				continue
			}
			if err := writeAligned(out, unsafe.Slice((*byte)(unsafe.Pointer(&p.Words[0])), 4*len(p.Words))); err != nil {
				return err
			}
		}
		return nil
	})
}

func aligned(n int) int { return (n + packedAlign - 1) / packedAlign * packedAlign }

// writeAligned writes b and zeros up to the next multiple of packedAlign.
func writeAligned(out io.Writer, b []byte) error {
	if _, err := out.Write(b); err != nil {
		return err
	}
	_, err := out.Write(make([]byte, aligned(len(b))-len(b)))
	return err
}

// Format returns the number format that Load makes of one that is asked for: that of a packed file
// is given.
func (w *Weights) Format(d tensor.DType) tensor.DType {
	if w.packed != nil {
		return w.packed.dtype
	}
	return d
}

// Packed reports whether the model at path is a packed file, which has one number format.
func Packed(path string) bool {
	at, err := locate(path)
	if err != nil {
		return false
	}
	packed, err := isPacked(at.weights)
	return packed && err == nil
}

// isPacked reports whether a file is a packed one.
func isPacked(path string) (bool, error) {
	f, _, err := regularfile.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, len(packedMagic))
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return false, err
	}
	return string(head[:n]) == packedMagic, nil
}

// openPacked maps a packed file.
func openPacked(path string) (*Weights, error) {
	b, err := mapped.Open(path)
	if err != nil {
		return nil, err
	}
	w, err := parsePacked(b)
	if err != nil {
		return nil, fmt.Errorf("model %s: packed file: %w", path, err)
	}
	w.File = &checkpoint.File{Path: path}
	return w, nil
}

// parsePacked reads the header of a packed file and finds its pieces. What the pieces hold is not
// looked at: any bits are numbers.
func parsePacked(b []byte) (*Weights, error) {
	const fixed = len(packedMagic) + 8
	if len(b) < fixed || !bytes.HasPrefix(b, []byte(packedMagic)) {
		return nil, errors.New("cut off, or not a packed file")
	}
	n := binary.LittleEndian.Uint64(b[len(packedMagic):])
	if n > maxPackedHead || int(n) > len(b)-fixed {
		return nil, fmt.Errorf("header of %d bytes in a file of %d", n, len(b))
	}
	var h packedHeader
	if err := json.Unmarshal(b[fixed:][:n], &h); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	d, err := tensor.ParseDType(h.DType)
	switch {
	case h.Version != packedVersion:
		return nil, fmt.Errorf("version %d, want %d: convert the original again", h.Version, packedVersion)
	case err != nil:
		return nil, err
	case h.Layout != tensor.WeightLayout(d):
		return nil, fmt.Errorf("weights are laid out as %s, this machine's kernels want %s: convert the original again",
			h.Layout, tensor.WeightLayout(d))
	}
	if err := h.Config.Validate(); err != nil {
		return nil, err
	}
	if !h.Config.fits(len(b)) {
		return nil, fmt.Errorf("a file of %d bytes is too small for %s", len(b), h.Config.Name())
	}
	p := &packedFile{dtype: d, recording: nn.Recording{Fingerprint: h.Fingerprint}}
	at := aligned(fixed + int(n))
	for _, piece := range h.Pieces {
		if piece.Words < 1 || at > len(b) || piece.Words > (len(b)-at)/4 {
			return nil, fmt.Errorf("%d words of %s from byte %d on in a file of %d", piece.Words, piece.Name, at, len(b))
		}
		words := unsafe.Slice((*float32)(unsafe.Pointer(&b[at])), piece.Words)
		p.recording.Pieces = append(p.recording.Pieces, nn.Piece{Name: piece.Name, Words: words})
		at += aligned(4 * piece.Words)
	}
	return &Weights{
		Config:     h.Config,
		Process:    h.Process,
		ClassNames: h.ClassNames,
		Assumed:    h.Assumed,
		DType:      d,
		packed:     p,
		posEmbed:   h.PosEmbed,
	}, nil
}

// fits reports whether a packed file of a number of bytes could hold the model: each matrix for
// itself, and all that are float32 in any number format. A position embedding that is computed may
// be larger.
func (c Config) fits(size int) bool {
	h, n, patch := float64(c.Hidden), float64(c.InputSize/c.PatchSize), float64(c.PatchSize*c.PatchSize)
	for _, floats := range []float64{
		6 * h * h * float64(c.Depth), // adaLN
		h * patch * float64(c.InChannels),
		h * float64(c.NumClasses),
		h * float64(c.MLPHidden) / 4, // a byte each
		h * n * n / 256,
	} {
		if 4*floats > float64(size)+1<<20 {
			return false
		}
	}
	return true
}

// loadPacked is Load of a packed file.
func (w *Weights) loadPacked() (*Model, error) {
	d := w.packed.dtype
	if w.DType != d && w.DType != tensor.F32 {
		return nil, w.failed(fmt.Errorf("it is packed in %v and cannot be run in %v", d, w.DType))
	}
	l := nn.Replay(&w.packed.recording)
	l.SetDType(d)
	m, err := load(w.Config, l, w.posEmbed)
	if err != nil {
		return nil, w.failed(err)
	}
	m.DType = d
	return m, nil
}
