package data

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// PassedOver is the files in a folder of images that are not images by their endings, counted.
type PassedOver []EndingCount

// EndingCount is the number of files with an ending.
type EndingCount struct {
	Ending string `json:"ending"` // in lower case, with its dot; "" for names without one
	Count  int    `json:"count"`
}

// String is, for example, "6 files: 4 .txt, 2 .jp2".
func (p PassedOver) String() string {
	total := 0
	var parts []string
	for _, e := range p {
		total += e.Count
		parts = append(parts, fmt.Sprintf("%d %s", e.Count, cmp.Or(e.Ending, "without an ending")))
	}
	files := "files"
	if total == 1 {
		files = "file"
	}
	return fmt.Sprintf("%d %s: %s", total, files, strings.Join(parts, ", "))
}

// passedOver returns the counts, the largest first.
func (l *imageList) passedOver() PassedOver {
	var list PassedOver
	for _, e := range slices.Sorted(maps.Keys(l.others)) {
		list = append(list, EndingCount{e, l.others[e]})
	}
	slices.SortStableFunc(list, func(a, b EndingCount) int { return b.Count - a.Count })
	return list
}

// ending is a file's ending in lower case.
func ending(name string) string { return strings.ToLower(filepath.Ext(name)) }
