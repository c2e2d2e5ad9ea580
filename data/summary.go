package data

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Summary says what a set of labelled images holds.
type Summary struct {
	Kind     string       `json:"kind"`
	Path     string       `json:"path"`
	Images   int          `json:"images"`
	Size     int          `json:"size"`
	Channels int          `json:"channels"`
	Classes  []ClassCount `json:"classes"`
	Mean     float64      `json:"mean"` // of the pixels, in [0,1]
	Std      float64      `json:"std"`
	Measured int          `json:"measured"`        // images that mean and std are of
	Sheet    string       `json:"sheet,omitempty"` // file of a contact sheet, if the caller wrote one

	PassedOver PassedOver `json:"passed_over,omitempty"`
	Remarks    []string   `json:"remarks,omitempty"` // Set.Remarks
}

// ClassCount is a class and the number of its images.
type ClassCount struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Summary describes the set. Mean and standard deviation are of at most max images, evenly spaced.
func (s *Set) Summary(max int) (*Summary, error) {
	stats, err := s.Stats(max)
	if err != nil {
		return nil, err
	}
	r := &Summary{
		Kind:     s.Kind,
		Path:     s.Path,
		Images:   s.Len(),
		Size:     s.Size,
		Channels: s.Channels,
		Classes:  []ClassCount{},
		Mean:     stats.Mean,
		Std:      stats.Std,
		Measured: stats.Images,

		PassedOver: s.PassedOver,
		Remarks:    s.Remarks,
	}
	for class, count := range s.Counts() {
		r.Classes = append(r.Classes, ClassCount{s.Classes[class], count})
	}
	return r, nil
}

// Write writes the summary as text.
func (r *Summary) Write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(key, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", key, fmt.Sprintf(format, args...)) }
	line("path", "%s", r.Path)
	line("kind", "%s", r.Kind)
	line("images", "%d", r.Images)
	if len(r.PassedOver) > 0 {
		line("passed over", "%s", r.PassedOver)
	}
	for _, remark := range r.Remarks {
		line("note", "%s", remark)
	}
	line("size", "%dx%d", r.Size, r.Size)
	line("channels", "%d", r.Channels)
	over := fmt.Sprintf("over all %d images", r.Images)
	if r.Measured < r.Images {
		over = fmt.Sprintf("over %d of the %d images, evenly spaced", r.Measured, r.Images)
	}
	line("pixels", "mean %.4f, standard deviation %.4f of [0,1], %s", r.Mean, r.Std, over)
	if r.Sheet != "" {
		line("sheet", "%s", r.Sheet)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(r.Classes) == 0 {
		_, err := fmt.Fprintln(out, "\nno labels")
		return err
	}
	fmt.Fprintf(out, "\n%d classes:\n", len(r.Classes))
	fmt.Fprintf(w, "  class\tname\tcount\n")
	for class, c := range r.Classes {
		fmt.Fprintf(w, "  %d\t%s\t%d\n", class, c.Name, c.Count)
	}
	return w.Flush()
}
