package classes

import (
	"strings"
	"testing"

	"github.com/tokencache/tokencache/internal/bounded"
)

// FuzzSelect reads selections of a model's classes, with names and without. What is chosen is in
// range.
func FuzzSelect(f *testing.F) {
	for _, s := range []string{"7", "3-7", "3..7", "ankle boot", "1,5-7,otter", "-1", "9-3", ",", "0-99999999999", "tench, Tinca tinca"} {
		f.Add(s, "tench, Tinca tinca|otter|ankle boot|10|3-7")
	}
	f.Fuzz(func(t *testing.T, selection, names string) {
		list := strings.Split(names, "|")
		bounded.Run(t, len(selection)+len(names), func() {
			for _, names := range [][]string{nil, list} {
				count := max(10, len(names))
				chosen, err := Select([]string{selection}, count, names)
				for _, class := range chosen {
					if err == nil && (class < 0 || class >= count) {
						t.Errorf("%q chooses class %d of %d", selection, class, count)
					}
				}
			}
		})
	})
}
