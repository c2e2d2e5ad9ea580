package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// WriteTables writes the tables at equal cost and, if there are such, those of crossings, in
// Markdown whose columns are aligned for a terminal.
func (r *Results) WriteTables(w io.Writer) error {
	var b strings.Builder
	for _, t := range r.equalTables() {
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", t.Title, t.Note)
		for _, l := range t.Levels {
			fmt.Fprintf(&b, "### %s\n\n%s\n", l.Title, markdown(t.Head, l.Rows))
			if l.Lacks != "" {
				b.WriteString(l.Lacks + "\n\n")
			}
		}
	}
	if note := r.disturbedNote(); note != "" && (b.Len() > 0 || r.untimedNote() != "") {
		b.WriteString(strings.TrimSpace(note) + "\n\n")
	}
	crossings := r.axesTables()
	if t := r.precisionTable(); t != nil {
		crossings = append([]axesTable{*t}, crossings...)
	}
	for _, t := range crossings {
		fmt.Fprintf(&b, "## %s\n\n%s\n\n%s\n", t.Title, t.Note, markdown(t.Head, t.Rows))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// markdown returns a table with aligned columns. Bars in texts are escaped.
func markdown(head []string, rows [][]string) string {
	width := make([]int, len(head))
	escaped := make([][]string, 0, len(rows)+1)
	for _, row := range append([][]string{head}, rows...) {
		cells := make([]string, len(row))
		for i, text := range row {
			cells[i] = strings.ReplaceAll(strings.ReplaceAll(text, "|", `\|`), "\n", " ")
			width[i] = max(width[i], utf8.RuneCountInString(cells[i]))
		}
		escaped = append(escaped, cells)
	}
	var b strings.Builder
	for n, row := range escaped {
		for i, text := range row {
			b.WriteString("| " + text + strings.Repeat(" ", width[i]-utf8.RuneCountInString(text)+1))
		}
		b.WriteString("|\n")
		if n == 0 {
			for i := range row {
				b.WriteString("|" + strings.Repeat("-", width[i]+2))
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}
