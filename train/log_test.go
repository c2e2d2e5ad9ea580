package train

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestLogDamaged checks that damaged lines of a log are left out when the run goes on, and that the
// others stay.
func TestLogDamaged(t *testing.T) {
	dir := t.TempDir()
	text := `{"step":1}` + "\n" + `{"step":` + "\n\x00\x00\n" + `{"step":4}` + "\n" + `{"step":5}` + "\n" + `{"st`
	if err := os.WriteFile(filepath.Join(dir, LogFile), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	l, err := openLog(dir, 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.write(StepStats{Step: 5}); err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	steps, err := ReadLog(dir)
	var got []int
	for _, s := range steps {
		got = append(got, s.Step)
	}
	if want := []int{1, 4, 5}; err != nil || !slices.Equal(got, want) {
		t.Errorf("updates %v, %v; want %v", got, err, want)
	}
}
