package eval

import (
	"fmt"
	"io"
)

// WriteText writes the evaluation as a table for people: a line for each measure that was taken,
// with its interval.
func (e *Evaluation) WriteText(w io.Writer) error {
	of := fmt.Sprintf("%d reference images", e.ReferenceN)
	if e.ReferenceN == 0 {
		of = "statistics of a reference"
	}
	about := fmt.Sprintf("  (%d samples, %s, %d features of %s", e.N, of, e.Width, e.Features)
	if e.Preprocessing != "" {
		about += ", prepared as by " + e.Preprocessing
	}
	retrieval, named := (*Estimate)(nil), ""
	if r := e.Retrieval; r != nil {
		retrieval, named = &r.Share, fmt.Sprintf("  (%d prompts)", r.N)
	}
	for _, row := range []struct {
		name, format string
		scale        float64
		estimate     *Estimate
		about        string
	}{
		{"Fréchet distance", "%.4f", 1, &e.Frechet, about + ")"},
		{"sFID", "%.4f", 1, e.SpatialFrechet, ""},
		{"inception score", "%.4f", 1, e.InceptionScore, ""},
		{"precision", "%.4f", 1, e.Precision, ""},
		{"recall", "%.4f", 1, e.Recall, ""},
		{"class agreement", "%.2f %%", 100, e.Agreement, ""},
		{"prompt retrieval", "%.2f %%", 100, retrieval, named},
	} {
		v := row.estimate
		if v == nil {
			continue
		}
		format := fmt.Sprintf("%%-17s %s (%s to %s)%%s\n", row.format, row.format, row.format)
		_, err := fmt.Fprintf(w, format, row.name, row.scale*v.Value, row.scale*v.Low, row.scale*v.High, row.about)
		if err != nil {
			return err
		}
	}
	return nil
}
