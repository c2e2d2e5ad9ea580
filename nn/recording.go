package nn

import "fmt"

// Recording is the memory of layers, one piece for each vector, table and packed matrix, in the
// order of reading.
type Recording struct {
	Fingerprint string
	Pieces      []Piece
}

// Piece is the memory of one vector, table or matrix.
type Piece struct {
	Name  string
	Words []float32 // of a matrix in the layout of the kernels in use: see tensor.WeightLayout
}

// Record adds to r the memory of what is read from now on, without copying it. Layers must not be
// trainable, or of convolutions.
func (l *Loader) Record(r *Recording) {
	l.record = func(name string, words []float32) { r.Pieces = append(r.Pieces, Piece{name, words}) }
}

// Replay returns a Loader of the layers that were recorded, in the same number format and layout,
// over the Recording's memory, to which nothing is written.
func Replay(r *Recording) *Loader {
	l := NewLoader(nil)
	pieces := *r
	l.replay = &pieces
	return l
}

func (l *Loader) keep(name string, words []float32) {
	if l.record != nil && l.err == nil {
		l.record(name, words)
	}
}

// next returns the next piece of what is replayed.
func (l *Loader) next(name string, n int) []float32 {
	pieces := &l.replay.Pieces
	switch {
	case l.err != nil:
	case len(*pieces) == 0:
		l.err = fmt.Errorf("load %s: nothing of it is recorded", name)
	case (*pieces)[0].Name != name || len((*pieces)[0].Words) != n:
		l.err = fmt.Errorf("load %s: %d words, want %s of %d", (*pieces)[0].Name, len((*pieces)[0].Words), name, n)
	default:
		words := (*pieces)[0].Words
		*pieces = (*pieces)[1:]
		return words
	}
	return make([]float32, n)
}
