package process

import (
	"encoding/json"
	"os"
	"testing"
)

func writeRecord(t *testing.T, table Table, record Record) {
	t.Helper()
	content, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(table.file(record.Name), content, 0o644); err != nil {
		t.Fatal(err)
	}
}
