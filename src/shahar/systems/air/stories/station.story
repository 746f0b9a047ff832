story   A station's air becomes the city's, and what is no measurement is left out by itself
day     2024-12-18
device  square air.station

00:00   uplink square station-hour.json
00:00   expect square pm25 = 55 GQ
00:00   expect square relativeHumidity = 62.6 P1
00:00   expect square pm10 absent
01:00   says   square {"pm25": 61.5, "humidity": null}
01:00   expect square pm25 = 61.5 GQ
01:00   expect square relativeHumidity age 60 min
02:00   uplink square station-impossible-humidity.json       # 120 % of humidity beside a true 907.5 of PM2.5
02:00   expect square pm25 = 907.5 GQ
02:00   expect square relativeHumidity = 62.6 P1
02:01   refuse square {"pm25": "high"}
02:01   refuse square {"pm25": 1e999}
