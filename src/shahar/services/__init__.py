"""Floor 3: decisions and transactions. No HTTP, no MQTT, no SQL text; ports and the clock are handed in."""
