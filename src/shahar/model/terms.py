"""The terms of the NGSI-LD core @context, as one table; every published version is this table.

Source: uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld, a superset of the earlier ones for expansion. The core
is applied last and its terms are protected, so that no user @context can change them (ETSI GS CIM 009 clause 5.5.7).
"""

from __future__ import annotations

import re
from typing import Final

NGSI_LD: Final = "https://uri.etsi.org/ngsi-ld/"
DEFAULT_VOCABULARY: Final = "https://uri.etsi.org/ngsi-ld/default-context/"
CORE_URL: Final = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"
CORE_PATTERN: Final = re.compile(
    r"https?://uri\.etsi\.org/ngsi-ld/v1/ngsi-ld-core-context(-v\d+\.\d+(\.\d+)?)?\.jsonld"
)

_IN_NAMESPACE: Final = """
Attribute AttributeList ContextSourceIdentity ContextSourceNotification ContextSourceRegistration Date DateTime
EntityMap EntityType EntityTypeInfo EntityTypeList ExecutionResultDetails GeoProperty JsonProperty LanguageProperty
ListProperty ListRelationship Notification Property Relationship Snapshot SnapshotNotification Subscription
TemporalProperty Time VocabProperty accept aggrMethods aggrParams aggrPeriodDuration attributeCount attributeDetails
attributeList attributeName attributeNames attributeTypes attributes attrs avg cacheDuration collation
contextSourceAlias contextSourceExtras contextSourceInfo contextSourceTimeAt contextSourceUptime cooldown createdAt
csf data datasetId deletedAt detail distinctCount endAt endTimeAt endpoint entities entity entityCount entityId
entityList error errors expandValues expiresAt format geoQ geoproperty georel idPattern information instanceId
isActive join jsonKeys jsonldContext jsons lang lastFailure lastN lastNotification lastSuccess lastUsedAt linkedMaps
localOnly location management managementInterval max min mode modifiedAt ngsildConformance ngsildproof notUpdated
notification notificationTrigger notifiedAt notifierInfo observationInterval observationSpace observedAt omit
operationSpace operations orderBy ordering pick problemDetails propertyNames q reason receiverInfo refreshRate
registrationId registrationName relationshipNames resultStatus scope scopeQ showChanges snapshotId snapshotLifetime
snapshotPriority snapshotQueries snapshotQueriesDetails snapshotStatus snapshotTemporalQueries
snapshotTemporalQueriesDetails startAt status stddev subscriptionId subscriptionName success sum sumsq sysAttrs
temporalQ tenant throttling timeAt timeInterval timeout timeproperty timerel timesFailed timesSent totalCount
triggerReason typeList typeName typeNames unchanged unitCode updated uri watchedAttributes
"""

_ELSEWHERE: Final = {
    "Feature": "https://purl.org/geojson/vocab#Feature",
    "FeatureCollection": "https://purl.org/geojson/vocab#FeatureCollection",
    "GeometryCollection": "https://purl.org/geojson/vocab#GeometryCollection",
    "LineString": "https://purl.org/geojson/vocab#LineString",
    "MultiLineString": "https://purl.org/geojson/vocab#MultiLineString",
    "MultiPoint": "https://purl.org/geojson/vocab#MultiPoint",
    "MultiPolygon": "https://purl.org/geojson/vocab#MultiPolygon",
    "Point": "https://purl.org/geojson/vocab#Point",
    "Polygon": "https://purl.org/geojson/vocab#Polygon",
    "bbox": "https://purl.org/geojson/vocab#bbox",
    "containedBy": "https://uri.etsi.org/ngsi-ld/isContainedBy",
    "coordinates": "https://purl.org/geojson/vocab#coordinates",
    "dataset": "https://uri.etsi.org/ngsi-ld/hasDataset",
    "description": "http://purl.org/dc/terms/description",
    "entityMap": "https://uri.etsi.org/ngsi-ld/hasEntityMap",
    "entityMapLifetime": "https://uri.etsi.org/ngsi-ld/hasEntityMapLifetime",
    "features": "https://purl.org/geojson/vocab#features",
    "geojson": "https://purl.org/geojson/vocab#",
    "geometry": "https://purl.org/geojson/vocab#geometry",
    "joinLevel": "https://uri.etsi.org/ngsi-ld/hasJoinLevel",
    "json": "https://uri.etsi.org/ngsi-ld/hasJSON",
    "key": "https://uri.etsi.org/ngsi-ld/hasKey",
    "langString": "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString",
    "languageMap": "https://uri.etsi.org/ngsi-ld/hasLanguageMap",
    "languageMaps": "https://uri.etsi.org/ngsi-ld/hasLanguageMaps",
    "ngsi-ld": "https://uri.etsi.org/ngsi-ld/",
    "object": "https://uri.etsi.org/ngsi-ld/hasObject",
    "objectList": "https://uri.etsi.org/ngsi-ld/hasObjectList",
    "objectLists": "https://uri.etsi.org/ngsi-ld/hasObjectLists",
    "objectType": "https://uri.etsi.org/ngsi-ld/hasObjectType",
    "objects": "https://uri.etsi.org/ngsi-ld/hasObjects",
    "previousJson": "https://uri.etsi.org/ngsi-ld/hasPreviousJson",
    "previousLanguageMap": "https://uri.etsi.org/ngsi-ld/hasPreviousLanguageMap",
    "previousObject": "https://uri.etsi.org/ngsi-ld/hasPreviousObject",
    "previousObjectList": "https://uri.etsi.org/ngsi-ld/hasPreviousObjectList",
    "previousValue": "https://uri.etsi.org/ngsi-ld/hasPreviousValue",
    "previousValueList": "https://uri.etsi.org/ngsi-ld/hasPreviousValueList",
    "previousVocab": "https://uri.etsi.org/ngsi-ld/hasPreviousVocab",
    "properties": "https://purl.org/geojson/vocab#properties",
    "splitEntities": "https://uri.etsi.org/ngsi-ld/hasSplitEntities",
    "title": "http://purl.org/dc/terms/title",
    "value": "https://uri.etsi.org/ngsi-ld/hasValue",
    "valueList": "https://uri.etsi.org/ngsi-ld/hasValueList",
    "valueLists": "https://uri.etsi.org/ngsi-ld/hasValueLists",
    "valueType": "https://uri.etsi.org/ngsi-ld/hasValueType",
    "values": "https://uri.etsi.org/ngsi-ld/hasValues",
    "vocab": "https://uri.etsi.org/ngsi-ld/hasVocab",
    "vocabs": "https://uri.etsi.org/ngsi-ld/hasVocabs",
}

CORE_TERMS: Final[dict[str, str]] = {term: NGSI_LD + term for term in _IN_NAMESPACE.split()} | _ELSEWHERE
"""Term -> IRI, without keywords and their aliases."""

CORE_PREFIXES: Final = frozenset({"ngsi-ld", "geojson"})
"""The core terms that make names of others."""
CORE_ALIASES: Final = {"id": "@id", "type": "@type"}
"""Names of the core @context for keywords."""
