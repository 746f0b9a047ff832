story   A frame told again changes nothing, and a late one does not push a newer value aside
day     2023-01-05
device  tower buildings.elsys-ems

00:01   uplink tower ems-frame-again-1.json
00:01   expect tower temperature = 5.8 CEL
00:04   uplink tower ems-frame-again-2.json             # the same frame: it had not been confirmed
00:04   expect tower temperature age 3 min
00:30   uplink tower ems-hot.json
00:31   uplink tower ems-cold.json at 00:10             # measured earlier, arrives later
00:31   expect tower temperature = 43.8 CEL
00:31   expect tower temperature age 1 min
